"""Job names: the same for the same try, different for anything else, and within SageMaker's limits."""

import re
from dataclasses import dataclass, replace

import pytest

from retail_mlops.common.names import job_name, release_id

SAGEMAKER = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
KUBERNETES = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Try:
    dag_id: str = "etl"
    run_id: str = "backfill__2006-04-10T00:00:00+00:00__200607__aBcD"
    task_id: str = "clean"
    try_number: int = 1


def test_same_try_has_the_same_name():
    assert job_name(Try()) == job_name(Try())


@pytest.mark.parametrize(
    "other", [{"run_id": "manual__x"}, {"task_id": "split"}, {"try_number": 2}, {"dag_id": "train"}]
)
def test_anything_else_has_another_name(other):
    assert job_name(replace(Try(), **other)) != job_name(Try())


def test_name_of_an_earlier_try_is_known_to_the_later_one():
    assert job_name(replace(Try(), try_number=3), 1) == job_name(Try())


@pytest.mark.parametrize("task_id", ["clean", "a_task", "group.task", "x" * 200])
def test_name_is_valid_and_ours(task_id):
    name = job_name(replace(Try(), task_id=task_id, try_number=12))
    assert SAGEMAKER.fullmatch(name)
    assert name.startswith("mlops-retail-dev-")


def test_release_id_is_valid_in_kubernetes():
    assert KUBERNETES.fullmatch(release_id(12, Try()))
    assert KUBERNETES.fullmatch(f"retail-api-verify-{release_id(12, Try())}")
