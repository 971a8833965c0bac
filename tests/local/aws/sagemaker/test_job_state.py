"""The state of a job: how it ends, and what an interrupted job becomes."""

import pytest

from local.aws.sagemaker import job_state
from local.aws.sagemaker import jobs as sagemaker_jobs
from local.aws.sagemaker.service import SageMaker
from tests.local.aws.sagemaker.conftest import ACCOUNT, REGION, processing, refused, training


@pytest.mark.parametrize("kind", list(job_state.KINDS.values()), ids=lambda kind: kind.name)
def test_job_that_was_interrupted_is_failed_at_the_next_start(sagemaker, platform, kind):
    request = training() if kind is job_state.TRAINING else processing()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.resource}/x"
    job = job_state.Job.create(kind, arn, request)
    sagemaker.store.put(arn, job.document())
    SageMaker(sagemaker.store, platform).jobs.recover()
    failed = job_state.Job.of(sagemaker.store.get(arn))
    assert (failed.status, failed.state["FailureReason"]) == ("Failed", sagemaker_jobs.INTERRUPTED)


def test_ended_job_does_not_change_again(sagemaker):
    request, arn = training(), f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/x"
    job = job_state.Job.create(job_state.TRAINING, arn, request)
    job.end("Completed", "Completed", "")
    job.step("Stopping", "", "Stopping")
    job.end("Failed", "Failed", "", "late")
    assert (job.status, "FailureReason" in job.state) == ("Completed", False)


def test_missing_jobs_are_validation_errors(call):
    for operation, name in (("DescribeTrainingJob", "TrainingJobName"), ("StopProcessingJob", "ProcessingJobName")):
        assert refused(call, operation, **{name: "absent"})[0] == "ValidationException"


def test_job_without_its_image_fails_with_the_reason(call, trusted_role, sagemaker):
    call("CreateTrainingJob", **training())
    sagemaker.jobs.pool.shutdown(wait=True)
    job = call("DescribeTrainingJob", TrainingJobName="fit")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: no password for the registry of mlops/retail-jobs")
    assert refused(call, "StopTrainingJob", TrainingJobName="fit")[1].endswith("job is in status Failed.")
    failed = call("ListTrainingJobs", StatusEquals="Failed")["TrainingJobSummaries"]
    assert [summary["TrainingJobName"] for summary in failed] == ["fit"]
    assert call("ListTrainingJobs", NameContains="other")["TrainingJobSummaries"] == []
