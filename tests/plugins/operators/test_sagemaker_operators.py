"""Jobs are found again, stopped when killed, and count only when Completed. AWS answers by botocore's Stubber."""

import asyncio
import datetime as dt
from dataclasses import dataclass

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from botocore.stub import Stubber

from retail_mlops.common.errors import RetailError
from retail_mlops.common.job_requests import Source, training
from retail_mlops.common.names import job_name
from retail_mlops.operators import sagemaker as module
from retail_mlops.operators.sagemaker import ProcessingJobOperator, TrainingJobOperator
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
    state: str | None = "running"
    """What Airflow's server says of it; None: its run is gone."""

    def get_task_states(self, dag_id, task_ids, run_ids):
        assert (dag_id, task_ids, run_ids) == (self.dag_id, [self.task_id], [self.run_id])
        return {self.run_id: {self.task_id: self.state}} if self.state else {}


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


class LocalStack:
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

    def execute(self, number=1, state="running"):
        return self.operator.execute({"ti": Try(try_number=number, state=state)})

    def resume(self, name, status="success", number=1, state="running"):
        return self.operator.execute_complete(
            {"ti": Try(try_number=number, state=state)}, {"status": status, "job_name": name, "message": "m"}
        )


@pytest.fixture
def stack(monkeypatch):
    made = LocalStack(monkeypatch)
    yield made
    made.stub.assert_no_pending_responses()


FIRST, SECOND = job_name(Try()), job_name(Try(try_number=2))


def test_first_try_starts_a_job_and_waits_deferred(stack):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        stack.execute()

    assert isinstance(deferred.value.trigger, StoppingJobTrigger)
    assert deferred.value.trigger.job_name == FIRST


def test_job_that_is_over_at_once_needs_no_trigger(stack, waits_in_task):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.found(FIRST, "InProgress")
    stack.found(FIRST, "Completed")

    assert stack.execute() == FIRST


def test_job_that_fails_while_its_task_waits_is_a_failure(stack, waits_in_task):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.found(FIRST, "Failed", FailureReason="AlgorithmError: label outside the set, exit code: 1")

    with pytest.raises(RetailError, match="label outside the set"):
        stack.execute()


def test_longer_job_is_waited_for_deferred(stack, waits_in_task, monkeypatch):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.found(FIRST, "InProgress")
    moments = iter([0, 4.9, 5.1])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(moments))

    with pytest.raises(TaskDeferred):
        stack.execute()


def test_task_that_is_killed_while_it_waits_stops_its_job(stack, waits_in_task, monkeypatch):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)  # by on_kill
    stack.found(FIRST, "Stopping")
    stack.stopped(FIRST)  # by whoever notices that it was killed
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: stack.operator.on_kill())

    with pytest.raises(AirflowException, match="the task was killed"):
        stack.execute()


def test_cleared_task_starts_its_own_job_when_the_old_one_stops_while_it_waits(stack, waits_in_task):
    stack.absent(SECOND)
    stack.found(FIRST, "Stopping")
    stack.found(FIRST, "Stopped")
    stack.created(SECOND)
    stack.found(SECOND, "InProgress")
    stack.found(SECOND, "Completed")

    assert stack.execute(number=2) == SECOND


def test_job_of_a_task_that_died_is_found_again(stack):
    stack.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        stack.execute()

    assert deferred.value.trigger.job_name == FIRST


def test_retry_waits_for_the_living_job_of_the_first_try(stack):
    stack.absent(SECOND)
    stack.found(FIRST, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        stack.execute(number=2)

    assert deferred.value.trigger.job_name == FIRST


def test_retry_after_a_failed_job_starts_its_own(stack):
    stack.absent(SECOND)
    stack.found(FIRST, "Failed")
    stack.created(SECOND)
    stack.found(SECOND, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        stack.execute(number=2)

    assert deferred.value.trigger.job_name == SECOND


def test_cleared_task_starts_its_own_once_the_old_job_has_stopped(stack):
    stack.found(FIRST, "Stopped")
    stack.created(SECOND)
    stack.found(SECOND, "InProgress")

    with pytest.raises(TaskDeferred) as deferred:
        stack.resume(FIRST, status="stopped", number=2)

    assert deferred.value.trigger.job_name == SECOND


def test_completed_job_with_its_artifact_is_a_success(stack):
    stack.found(FIRST, "Completed")
    assert stack.resume(FIRST) == FIRST


def test_completed_job_without_artifact_fails(stack):
    stack.there = False
    stack.found(FIRST, "Completed")
    with pytest.raises(RetailError, match="wrote nothing to s3://b/artifacts/training/"):
        stack.resume(FIRST)


def test_stopped_job_is_no_success(stack):
    stack.found(FIRST, "Stopped", SecondaryStatus="MaxRuntimeExceeded")
    with pytest.raises(RetailError, match="is Stopped, not Completed: MaxRuntimeExceeded"):
        stack.resume(FIRST, status="stopped")


def test_fault_of_code_or_data_is_not_retried(stack):
    stack.found(FIRST, "Failed", FailureReason="AlgorithmError: ValueError: label outside the set, exit code: 1")
    with pytest.raises(RetailError, match="label outside the set"):
        stack.resume(FIRST, status="failed")


def test_fault_of_the_platform_is_retried(stack):
    stack.found(FIRST, "Failed", FailureReason="CapacityError: Unable to provision requested ML compute capacity")
    with pytest.raises(AirflowException) as failed:
        stack.resume(FIRST, status="failed")
    assert not isinstance(failed.value, RetailError)


def test_watch_that_broke_off_is_taken_up_again(stack):
    stack.found(FIRST, "InProgress")
    with pytest.raises(TaskDeferred) as deferred:
        stack.resume(FIRST, status="error")
    assert deferred.value.trigger.job_name == FIRST


def test_job_that_takes_too_long_is_stopped(stack):
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)
    with pytest.raises(AirflowException, match="stopped waiting"):
        stack.resume(FIRST, status="timeout")


def test_killed_task_stops_its_job(stack):
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)
    with pytest.raises(TaskDeferred):
        stack.execute()

    stack.operator.on_kill()


@pytest.mark.parametrize("state", ["failed", "success", "restarting", None])
def test_task_that_was_killed_before_the_worker_noticed_stops_its_job_instead_of_waiting(stack, monkeypatch, state):
    answers = iter([Try().get_task_states("train", ["fit"], ["manual__1"])])  # alive when it starts the job
    asked = Try.get_task_states
    monkeypatch.setattr(Try, "get_task_states", lambda self, **what: next(answers, None) or asked(self, **what))
    stack.absent(FIRST)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)

    with pytest.raises(AirflowException, match="the task was killed"):
        stack.execute(state=state)


def test_task_that_was_killed_before_it_started_a_job_starts_none(stack):
    stack.absent(FIRST)
    with pytest.raises(AirflowException, match="the task was killed"):
        stack.execute(state="failed")


def test_kill_while_the_job_is_being_created_stops_it_once_it_is_there(stack):
    """SIGTERM comes between the request and its answer: the handler finds no job to stop, and the task goes on."""
    create = stack.operator.hook.create_training_job

    def killed_meanwhile(*args, **options):
        stack.operator.on_kill()
        return create(*args, **options)

    stack.operator.hook.create_training_job = killed_meanwhile
    stack.absent(FIRST)
    stack.stub.add_client_error("stop_training_job", expected_params={"TrainingJobName": FIRST}, **MISSING)
    stack.created(FIRST)
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)

    with pytest.raises(AirflowException, match="the task was killed"):
        stack.execute()


def test_killed_while_it_takes_up_its_watch_stops_the_job(stack):
    stack.found(FIRST, "InProgress")
    stack.stopped(FIRST)
    with pytest.raises(AirflowException, match="the task was killed"):
        stack.resume(FIRST, status="error", state="failed")


def test_kill_before_a_job_was_started_stops_nothing(stack):
    stack.operator.on_kill()


@pytest.fixture
def stopped(monkeypatch):
    """The requests that reach a SageMaker which needs a moment to answer."""
    requests = []

    class Client:
        async def __aenter__(self):
            await asyncio.sleep(0.1)
            return self

        async def __aexit__(self, *_):
            return None

        async def stop_processing_job(self, **request):
            requests.append(request)

    async def connect(_self):
        return Client()

    monkeypatch.setattr("airflow.providers.amazon.aws.hooks.sagemaker.SageMakerHook.get_async_conn", connect)
    return requests


def test_killing_a_deferred_task_stops_its_job(stopped):
    path, fields = StoppingJobTrigger(job_name="j", job_type="Processing").serialize()

    asyncio.run(StoppingJobTrigger(**fields).on_kill())

    assert path == "retail_mlops.triggers.sagemaker.StoppingJobTrigger"
    assert stopped == [{"ProcessingJobName": "j"}]


def test_stop_outlives_the_second_cancellation_of_its_trigger(stopped):
    async def triggerer():
        killed = asyncio.create_task(StoppingJobTrigger(job_name="j", job_type="Processing").on_kill())
        await asyncio.sleep(0.02)
        killed.cancel("user-action")
        with pytest.raises(asyncio.CancelledError):
            await killed
        await asyncio.sleep(0.2)  # the triggerer goes on

    asyncio.run(triggerer())
    assert stopped == [{"ProcessingJobName": "j"}]


def test_processing_job_must_have_written_every_output():
    operator = ProcessingJobOperator(task_id="clean", config={})
    job = {
        "ProcessingOutputConfig": {
            "Outputs": [{"S3Output": {"S3Uri": "s3://b/1/"}}, {"S3Output": {"S3Uri": "s3://b/2/"}}]
        }
    }
    assert operator.output_urls(job) == ["s3://b/1/", "s3://b/2/"]
