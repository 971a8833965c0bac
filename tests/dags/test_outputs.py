"""Every declared output belongs to a task that the DAG has and that comes before its readers."""

import pytest

from retail_mlops.common.scale_record import WAITING_TASK
from retail_mlops.common.xcom import TaskOutput
from retail_mlops.etl import tasks as etl
from retail_mlops.provision import smoke_test
from retail_mlops.provision import tasks as provision
from retail_mlops.release import tasks as release
from retail_mlops.teardown import tasks as teardown
from retail_mlops.training import tasks as training

MODULES = {
    "deploy": [release],
    "etl": [etl],
    "provision": [provision, smoke_test],
    "teardown": [teardown],
    "train": [training],
}
"""DAG → the modules that declare outputs of its tasks."""


def outputs(modules):
    """The outputs that the modules declare, alone or in tuples."""
    declared = [value for module in modules for value in vars(module).values()]
    declared += [item for value in declared if isinstance(value, tuple) for item in value]
    return [value for value in declared if isinstance(value, TaskOutput)]


@pytest.mark.parametrize("dag_id", MODULES)
def test_outputs_are_of_tasks_that_the_dag_has(bag, dag_id):
    declared = outputs(MODULES[dag_id])
    assert declared
    assert {output.task_id for output in declared} <= set(bag.dags[dag_id].task_ids)


def test_teardown_names_the_tasks_that_its_paths_lead_to(bag):
    choice = bag.dags["teardown"].get_task("choose_path")
    assert choice.downstream_task_ids == {teardown.ANSWER.task_id, teardown.CHECK_CONFIRMATION}


def test_scale_down_knows_the_first_task_of_deploy(bag):
    assert [task.task_id for task in bag.dags["deploy"].roots] == [WAITING_TASK]
