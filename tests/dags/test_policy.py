"""Rules that every DAG keeps; a new DAG is held to them without being named here."""

import ast
import re
from datetime import timedelta

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerBaseOperator
from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger
from airflow_env import ROOT

from include.settings import settings
from retail_mlops.common.dag_defaults import Tag
from retail_mlops.common.notifications import notify_failure
from retail_mlops.operators.kubernetes import ClusterJobOperator
from retail_mlops.operators.sagemaker import _RetailJob
from retail_mlops.triggers.sagemaker import StoppingJobTrigger

FILES = sorted(path for path in (ROOT / "dags").glob("*.py") if path.name != "__init__.py")
DAG_IDS = [path.stem for path in FILES]
TAGS = {str(tag) for tag in Tag}
NEVER_RETRIED = {
    ("train", "approve"),
    ("etl", "raw_landed"),
    ("deploy", "wait_until_scaled_up"),
    ("teardown", "confirm_deletion"),
}
"""A question that was answered is not asked again; a wait of hours is not waited again."""
WITHOUT_A_CLOCK = {"provision", "deploy", "teardown"}
"""DAGs that a person or an asset starts."""


@pytest.fixture(params=DAG_IDS)
def dag(request, bag):
    return bag.dags[request.param]


def test_dag_has_an_owner_and_known_tags(dag):
    assert {task.owner for task in dag.tasks} == {settings().owner}
    assert dag.tags
    assert set(dag.tags) <= TAGS


def test_dag_explains_itself(dag):
    assert dag.doc_md.startswith(f"# {dag.dag_id}\n")


def test_dag_limits_its_runs_and_makes_none_for_the_past(dag):
    assert 1 <= dag.max_active_runs <= 4
    assert dag.catchup is False


def test_failure_is_notified(dag):
    assert dag.on_failure_callback == [notify_failure] or dag.on_failure_callback is notify_failure


def test_tasks_are_retried_with_a_back_off(dag):
    for task in dag.tasks:
        if (dag.dag_id, task.task_id) in NEVER_RETRIED:
            assert task.retries == 0
        else:
            assert task.retries == 2
            assert task.retry_exponential_backoff
            assert task.max_retry_delay == timedelta(minutes=5)


def test_schedules_are_in_local_time(dag):
    """A timetable whose zone cannot be read, since Airflow calls it otherwise, is no timetable without a clock."""
    zones = [getattr(dag.timetable, name, None) for name in ("timezone", "_timezone")]
    expected = set() if dag.dag_id in WITHOUT_A_CLOCK else {"Asia/Ho_Chi_Minh"}
    assert {str(getattr(zone, "name", zone)) for zone in zones if zone is not None} == expected


def test_exceptions_from_the_rules_are_of_tasks_that_exist(bag):
    assert {(dag_id, task_id) for dag_id, dag in bag.dags.items() for task_id in dag.task_ids} >= NEVER_RETRIED
    assert set(bag.dags) > WITHOUT_A_CLOCK


def test_params_have_titles_and_schemas(dag):
    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert "title" in schema, name
        assert "type" in schema or "enum" in schema, name


def test_tasks_that_start_jobs_stop_them_when_killed(bag):
    started = [task for dag in bag.dags.values() for task in dag.tasks if isinstance(task, SageMakerBaseOperator)]
    in_cluster = [task for dag in bag.dags.values() for task in dag.tasks if "Job" in type(task).__name__]

    assert len(started) == 3
    assert len(in_cluster) > len(started)
    assert all(isinstance(task, _RetailJob) and task.deferrable for task in started)
    assert StoppingJobTrigger.on_kill is not BaseTrigger.on_kill
    assert _RetailJob.on_kill is not BaseOperator.on_kill
    assert all(isinstance(task, _RetailJob | ClusterJobOperator) for task in in_cluster)
    assert ClusterJobOperator.on_kill is not BaseOperator.on_kill


@pytest.mark.parametrize("path", FILES, ids=DAG_IDS)
def test_dag_file_is_wiring_only(path):
    text = path.read_text()
    functions = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]

    assert functions == [path.stem]
    assert len(text.splitlines()) <= 110


@pytest.mark.parametrize("path", [*FILES, *(ROOT / "plugins").rglob("*.py")], ids=lambda path: path.stem)
def test_no_template_that_fails_in_runs_without_a_logical_date(path):
    assert not re.search(r"\{\{\s*(ds|ds_nodash|ts|ts_nodash|logical_date|data_interval_start)\b", path.read_text())


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_readme_lists_the_dag(dag_id):
    assert f"| `{dag_id}` |" in (ROOT / "dags" / "README.md").read_text()
