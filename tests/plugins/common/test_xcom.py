"""What a task leaves for later tasks is typed, and its absence is an error that says what to do."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from retail_mlops.common.errors import RetailError
from retail_mlops.common.xcom import TaskOutput


@dataclass(frozen=True)
class Plan:
    weeks: list[str]
    champion: str | None


PLAN = TaskOutput[Plan]("plan", Plan)


def context(**outputs):
    """The context of a task whose run has these outputs, by task id and key."""
    ti = SimpleNamespace(xcom_pull=lambda task_ids, key: outputs.get(f"{task_ids}_{key}"))
    return {"ti": ti}


def test_what_was_dumped_is_pulled_again():
    plan = Plan(["200607"], None)
    assert PLAN.pull(context(plan_return_value=PLAN.dump(plan))) == plan


def test_missing_output_names_its_task():
    assert PLAN.find(context()) is None
    with pytest.raises(RetailError, match="task plan left no output: clear it"):
        PLAN.pull(context())


def test_output_of_another_form_is_refused():
    with pytest.raises(ValidationError, match="weeks"):
        PLAN.pull(context(plan_return_value={"champion": None}))


def test_key_tells_two_outputs_of_a_task_apart():
    result = TaskOutput[dict[str, int]]("bake", dict[str, int], key="result")
    assert result.find(context(bake_return_value={"a": 1}, bake_result={"a": 2})) == {"a": 2}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (PLAN.template(), "{{ ti.xcom_pull(task_ids='plan') }}"),
        (PLAN.template("champion"), "{{ ti.xcom_pull(task_ids='plan')['champion'] }}"),
        (TaskOutput("bake", str, key="result").template(), "{{ ti.xcom_pull(task_ids='bake', key='result') }}"),
    ],
)
def test_template_reads_the_same_output(template, text):
    assert template == text
