"""Which job requests are refused, and that those of the DAGs are accepted."""

import pytest

from local.aws.sagemaker import job_checks, job_state
from local.aws.sagemaker.protocol import AwsError
from local.aws.sagemaker.validation import validate
from retail_mlops.common import job_requests as requests
from tests.local.aws.sagemaker.conftest import IMAGE, ROLE, processing, refused, training


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"TrainingJobName": "under_score"}, "trainingJobName.*regular expression"),
        ({"TrainingJobName": "x" * 64}, "trainingJobName.*less than or equal to 63"),
        ({"RoleArn": "arn:aws:iam::12:role/no-account"}, "roleArn.*regular expression"),
        ({"OutputDataConfig": {}}, 'Missing required parameter in OutputDataConfig: "S3OutputPath"'),
        ({"HyperParameters": {"trees": 7}}, "Invalid type for parameter HyperParameters"),
        (
            {"ResourceConfig": {"InstanceCount": 1, "InstanceType": "m5.large", "VolumeSizeInGB": 1}},
            "resourceConfig.instanceType.*enum value set",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
            "does not run this: ResourceConfig.InstanceCount=2",
        ),
        ({"EnableManagedSpotTraining": True}, "does not run this: EnableManagedSpotTraining=True"),
        ({"AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Pipe"}}, "TrainingInputMode=Pipe"),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "f1", "Regex": "f1=.*"}],
                }
            },
            "no group that holds the value",
        ),
    ],
)
def test_training_request_that_aws_or_this_service_does_not_take_is_refused(call, change, text):
    with pytest.raises(AwsError, match=text) as caught:
        call("CreateTrainingJob", **training(**change))
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize("path", ["/tmp/x", "/opt/ml/model", "/opt/ml/processing/../../etc", "/opt/ml/processing2/x"])
def test_processing_path_outside_its_folder_is_refused(call, path):
    target = {"S3Uri": "s3://bucket/x", "LocalPath": path, "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "out", "S3Output": target}]}
    with pytest.raises(AwsError, match="must be below /opt/ml/processing"):
        call("CreateProcessingJob", **processing(ProcessingOutputConfig=outputs))


def test_role_that_does_not_trust_sagemaker_is_refused(call):
    code, text = refused(call, "CreateTrainingJob", **training())
    assert (code, text.startswith(f"Could not assume role {ROLE}.")) == ("ValidationException", True)


def test_requests_of_the_dags_are_taken():
    source = requests.Source(requests.url("gold/_manifest/200810.json"), manifest=True)
    fit = requests.training(IMAGE, {"gold": source}, {"trees": 7, "depth": "auto"})
    validate("CreateTrainingJob", fit | {"TrainingJobName": "fit"})
    clean = requests.processing(["include.etl", "clean"], IMAGE, {"raw": source}, {"silver": "s3://bucket/x"}, "etl")
    validate("CreateProcessingJob", clean | {"ProcessingJobName": "clean"})
    job_checks.check(job_state.TRAINING, fit)
    job_checks.check(job_state.PROCESSING, clean)
