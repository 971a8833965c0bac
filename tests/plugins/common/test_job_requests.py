"""Every request for a job is valid by AWS's own service model."""

import json

import boto3
import pytest
from botocore.validate import ParamValidator

from retail_mlops.common import job_requests as requests
from retail_mlops.common.job_requests import Source, manifest_file, processing, training
from retail_mlops.hooks.model_registry import registration

IMAGE = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/retail-jobs@sha256:" + "a" * 64


def assert_valid(operation, request):
    model = boto3.client("sagemaker", region_name="ap-southeast-1").meta.service_model.operation_model(operation)
    report = ParamValidator().validate(request, model.input_shape)
    assert not report.has_errors(), report.generate_report()


@pytest.fixture
def evaluation():
    return processing(
        ["include.train", "evaluate"],
        image=IMAGE,
        inputs={"model": Source("s3://b/m.tar.gz"), "train": Source("s3://b/tmp/x/train.manifest", manifest=True)},
        outputs={"evaluation": "s3://b/artifacts/evaluation/j/"},
        component="evaluation",
    )


@pytest.fixture
def fit():
    return training(IMAGE, {"train": Source("s3://b/t.manifest", manifest=True)}, {"trees": 50, "name": "x", "a": [1]})


def test_processing_request_is_valid(evaluation):
    assert_valid("CreateProcessingJob", {**evaluation, "ProcessingJobName": "j"})


def test_training_request_is_valid(fit):
    assert_valid("CreateTrainingJob", {**fit, "TrainingJobName": "j"})


def test_invalid_request_is_found(fit):
    with pytest.raises(AssertionError, match="InstanceCount"):
        assert_valid("CreateTrainingJob", {**fit, "TrainingJobName": "j", "ResourceConfig": {"InstanceCount": "one"}})


def test_registration_is_valid_and_waits_for_a_person():
    request = registration(
        "s3://b/m.tar.gz", IMAGE, {"training_job": "j"}, evidence_url="s3://b/e.json", token="a" * 36
    )
    assert_valid("CreateModelPackage", request)
    assert request["ModelApprovalStatus"] == "PendingManualApproval"


def test_hyperparameters_are_text(fit):
    assert fit["HyperParameters"] == {"trees": "50", "name": "x", "a": "[1]"}


def test_inputs_and_outputs_lie_where_the_job_looks(evaluation):
    assert evaluation["ProcessingInputs"][1]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/train"
    assert evaluation["ProcessingInputs"][1]["S3Input"]["S3DataType"] == "ManifestFile"
    output = evaluation["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
    assert output["LocalPath"] == "/opt/ml/processing/output/evaluation"


def test_every_job_is_tagged(fit, evaluation):
    for request in (fit, evaluation):
        assert {tag["Key"] for tag in request["Tags"]} == {"Project", "Environment", "Component", "Owner", "CostCenter"}


def test_jobs_see_known_settings_only():
    assert set(requests.environment()) == {f"RETAIL_{name.upper()}" for name in requests.JOB_SETTINGS}


def test_manifest_file_lists_keys_below_their_prefix():
    listed = json.loads(manifest_file(["gold/b", "gold/a"], below="gold/"))
    assert listed == [{"prefix": "s3://mlops-retail-prediction-dev-123456789012/gold/"}, "a", "b"]


@pytest.mark.parametrize("keys", [[], ["silver/a"], ["gold/a", "raw/b"]])
def test_manifest_file_refuses_nothing_and_strays(keys):
    with pytest.raises(ValueError, match="below gold/"):
        manifest_file(keys, below="gold/")
