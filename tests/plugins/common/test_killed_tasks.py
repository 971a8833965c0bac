"""Airflow's API server ends the jobs of tasks that a person killed, and of no others."""

from dataclasses import dataclass

import boto3
import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.utils.state import TaskInstanceState
from botocore.stub import Stubber

from retail_mlops.common import killed_tasks as listeners
from retail_mlops.common.names import job_name
from retail_mlops.operators import sagemaker as operators


@dataclass(frozen=True)
class Try:
    operator: str = "TrainingJobOperator"
    try_number: int = 2
    dag_id: str = "train"
    run_id: str = "manual__1"
    task_id: str = "fit"


@pytest.fixture
def ended(monkeypatch):
    """What was asked to be ended: [(kind, names)]."""
    asked = []

    class Now:
        def __init__(self, target, args, **_options):
            self.args = args

        def start(self):
            asked.append(self.args)

    monkeypatch.setattr(listeners.threading, "Thread", Now)
    return asked


def test_jobs_of_every_try_of_a_task_that_a_person_marked_are_ended(ended):
    listeners.on_task_instance_failed(None, Try())
    listeners.on_task_instance_success(None, Try(operator="ProcessingJobOperator", try_number=1))
    assert ended == [
        ("Training", [job_name(Try(), 2), job_name(Try(), 1)]),
        ("Processing", [job_name(Try(), 1)]),
    ]


@pytest.mark.parametrize(
    ("previous", "ti"), [(TaskInstanceState.RUNNING, Try()), (None, Try(operator="_PythonDecoratedOperator"))]
)
def test_tasks_that_end_by_themselves_and_tasks_without_jobs_are_left_alone(ended, previous, ti):
    listeners.on_task_instance_failed(previous, ti)
    listeners.on_task_instance_success(previous, ti)
    assert ended == []


def test_every_operator_that_starts_jobs_is_known():
    kinds = {made.__name__: made.kind for made in operators._RetailJob.__subclasses__()}
    assert kinds == listeners.KINDS


def test_a_job_that_starts_late_is_stopped_and_a_hiccup_of_aws_is_survived(monkeypatch):
    client = boto3.client("sagemaker", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")
    stub = Stubber(client)
    monkeypatch.setattr(SageMakerHook, "conn", client)
    stub.add_client_error("stop_training_job", "ValidationException", "Requested resource not found.")
    stub.add_client_error("stop_training_job", "ThrottlingException", "Rate exceeded")
    stub.add_response("stop_training_job", {}, {"TrainingJobName": "late"})
    stub.activate()
    listeners.stop_jobs("Training", ["late"], seconds=1, poll=0.2)
    stub.assert_no_pending_responses()
