"""Jobs are found again, stopped when killed, and count only when Completed. AWS answers by botocore's Stubber."""

import asyncio
import datetime as dt
from dataclasses import dataclass

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from botocore.stub import Stubber

from retail_mlops.errors import RetailError
from retail_mlops.names import job_name
from retail_mlops.operators import sagemaker as module
from retail_mlops.operators.sagemaker import ProcessingJobOperator, TrainingJobOperator
from retail_mlops.requests import Source, training
from retail_mlops.triggers.sagemaker import StoppingJobTrigger

IMAGE = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/retail-jobs@sha256:" + "a" * 64
REQUEST = training(IMAGE, {"train": Source("s3://b/t.manifest", manifest=True)}, {"trees": 5})
MISSING = {"service_error_code": "ValidationException", "service_message": "Requested resource not found."}


@dataclass(frozen=True)
class Try:
    dag_id: str = "train"
    run_id: str = "manual__1"
    task_id: str = "fit"
    try_number: int = 1


def described(name, status, **more):
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:aws:sagemaker:ap-southeast-1:123456789012:training-job/{name}",
        "ModelArtifacts": {"S3ModelArtifacts": f"s3://b/artifacts/training/{name}/output/model.tar.gz"},
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "ResourceConfig": {"VolumeSizeInGB": 1, "InstanceType": "ml.m5.large", "InstanceCount": 1},
        "StoppingCondition": {},
        "CreationTime": now,
        **more,
    }


class World:
    """An operator whose SageMaker answers what the test says, in that order, and nothing else."""

    def __init__(self, monkeypatch):
        self.operator = TrainingJobOperator(task_id="fit", config=lambda context, jinja_env: REQUEST)
        self.operator.config = dict(REQUEST)  # as rendering leaves it
        client = boto3.client(
            "sagemaker", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y"
        )
        self.stub = Stubber(client)
        monkeypatch.setattr(type(self.operator.hook), "get_conn", lambda _self: client)
        monkeypatch.setattr(type(self.operator.hook), "conn", client)
        monkeypatch.setattr(type(self.operator.hook), "check_s3_url", lambda _self, _url: True)
        monkeypatch.setattr(TrainingJobOperator, "_show_log", lambda _self, _name: None)
        self.there = True
        monkeypatch.setattr(module.S3Hook, "list_keys", lambda *_args, **_options: ["key"] if self.there else [])
        self.stub.activate()

    def absent(self, name):
        self.stub.add_client_error("describe_training_job", expected_params={"TrainingJobName": name}, **MISSING)

    def found(self, name, status, **more):
        self.stub.add_response("describe_training_job", described(name, status, **more), {"TrainingJobName": name})

    def created(self, name):
        arn = f"arn:aws:sagemaker:ap-southeast-1:123456789012:training-job/{name}"
        self.stub.add_response("create_training_job", {"TrainingJobArn": arn}, {**REQUEST, "TrainingJobName": name})

    def stopped(self, name):
        self.stub.add_response("stop_training_job", {}, {"TrainingJobName": name})

    def execute(self, number=1):
        return self.operator.execute({"ti": Try(try_number=number)})

    def resume(self, name, status="success", number=1):
        return self.operator.execute_complete(
            {"ti": Try(try_number=number)}, {"status": status, "job_name": name, "message": "m"}
        )


@pytest.fixture
def world(monkeypatch):
    made = World(monkeypatch)
    yield made
    made.stub.assert_no_pending_responses()


FIRST, SECOND = job_name(Try()), job_name(Try(try_number=2))


def test_first_try_starts_a_job_and_waits_deferred(world):
    world.absent(FIRST)
    world.created(FIRST)
    world.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        world.execute()

    assert isinstance(deferred.value.trigger, StoppingJobTrigger)
    assert deferred.value.trigger.job_name == FIRST


def test_job_of_a_task_that_died_is_found_again(world):
    world.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        world.execute()

    assert deferred.value.trigger.job_name == FIRST


def test_retry_waits_for_the_living_job_of_the_first_try(world):
    world.absent(SECOND)
    world.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        world.execute(number=2)

    assert deferred.value.trigger.job_name == FIRST


def test_retry_after_a_failed_job_starts_its_own(world):
    world.absent(SECOND)
    world.found(FIRST, "Failed")
    world.created(SECOND)
    world.found(SECOND, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        world.execute(number=2)

    assert deferred.value.trigger.job_name == SECOND


def test_cleared_task_starts_its_own_once_the_old_job_has_stopped(world):
    world.found(FIRST, "Stopped")
    world.created(SECOND)
    world.found(SECOND, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        world.resume(FIRST, status="stopped", number=2)

    assert deferred.value.trigger.job_name == SECOND


def test_completed_job_with_its_artifact_is_a_success(world):
    world.found(FIRST, "Completed")
    assert world.resume(FIRST) == FIRST


def test_completed_job_without_artifact_fails(world):
    world.there = False
    world.found(FIRST, "Completed")
    with pytest.raises(RetailError, match="wrote nothing to s3://b/artifacts/training/"):
        world.resume(FIRST)


def test_stopped_job_is_no_success(world):
    world.found(FIRST, "Stopped", SecondaryStatus="MaxRuntimeExceeded")
    with pytest.raises(RetailError, match="is Stopped, not Completed: MaxRuntimeExceeded"):
        world.resume(FIRST, status="stopped")


def test_fault_of_code_or_data_is_not_retried(world):
    world.found(FIRST, "Failed", FailureReason="AlgorithmError: ValueError: label outside the set, exit code: 1")
    with pytest.raises(RetailError, match="label outside the set"):
        world.resume(FIRST, status="failed")


def test_fault_of_the_platform_is_retried(world):
    world.found(FIRST, "Failed", FailureReason="CapacityError: Unable to provision requested ML compute capacity")
    with pytest.raises(AirflowException) as failed:
        world.resume(FIRST, status="failed")
    assert not isinstance(failed.value, RetailError)


def test_lost_connection_leaves_the_job_for_the_retry(world):
    world.found(FIRST, "InProgress")
    with pytest.raises(AirflowException, match="stopped waiting"):
        world.resume(FIRST, status="error")


def test_job_that_takes_too_long_is_stopped(world):
    world.found(FIRST, "InProgress")
    world.stopped(FIRST)
    with pytest.raises(AirflowException, match="stopped waiting"):
        world.resume(FIRST, status="timeout")


def test_killed_task_stops_its_job(world):
    world.absent(FIRST)
    world.created(FIRST)
    world.found(FIRST, "InProgress")
    world.stopped(FIRST)
    with pytest.raises(TaskDeferred):
        world.execute()

    world.operator.on_kill()


def test_kill_before_a_job_was_started_stops_nothing(world):
    world.operator.on_kill()


def test_killing_a_deferred_task_stops_its_job(monkeypatch):
    stopped = []

    class Client:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            return None

        async def stop_processing_job(self, **request):
            stopped.append(request)

    async def connect(_self):
        return Client()

    monkeypatch.setattr("airflow.providers.amazon.aws.hooks.sagemaker.SageMakerHook.get_async_conn", connect)
    path, fields = StoppingJobTrigger(job_name="j", job_type="Processing").serialize()

    asyncio.run(StoppingJobTrigger(**fields).on_kill())

    assert path == "retail_mlops.triggers.sagemaker.StoppingJobTrigger"
    assert stopped == [{"ProcessingJobName": "j"}]


def test_processing_job_must_have_written_every_output():
    operator = ProcessingJobOperator(task_id="clean", config={})
    job = {
        "ProcessingOutputConfig": {
            "Outputs": [{"S3Output": {"S3Uri": "s3://b/1/"}}, {"S3Output": {"S3Uri": "s3://b/2/"}}]
        }
    }
    assert operator._artifacts(job) == ["s3://b/1/", "s3://b/2/"]
