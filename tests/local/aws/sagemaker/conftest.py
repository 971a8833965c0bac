"""SageMaker without a process and without a network: its operations on a store in a temporary folder."""

import itertools
import json

import pytest
from ministack.services import iam

from local.aws.sagemaker import job_state, model_registry, protocol, training_run
from local.aws.sagemaker.job_run import Platform
from local.aws.sagemaker.protocol import AwsError, Call
from local.aws.sagemaker.service import SageMaker
from local.aws.sagemaker.store import Store

REGION, ACCOUNT = "ap-southeast-1", "123456789012"
GROUP = "retail-price-sensitivity-models"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops/retail-jobs@sha256:{'0' * 64}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"


@pytest.fixture
def platform(tmp_path):
    return Platform("http://127.0.0.1:1", tmp_path, tmp_path / "cache", {})


@pytest.fixture
def sagemaker(tmp_path, platform):
    service = SageMaker(Store(tmp_path / "sagemaker.db"), platform)
    yield service
    service.close()
    service.store.close()


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is a second later."""
    seconds = itertools.count(1_700_000_000)
    for module in (protocol, job_state, training_run, model_registry):
        monkeypatch.setattr(module, "now", lambda: float(next(seconds)))


@pytest.fixture
def trusted_role():
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"RoleId": "AROAEXAMPLE", "AssumeRolePolicyDocument": json.dumps({"Statement": [trust]})}
    iam._roles.set_scoped(ACCOUNT, None, "job", document)
    yield ROLE
    iam._roles.pop_scoped(ACCOUNT, None, "job")


@pytest.fixture
def call(sagemaker):
    """Calls an operation: call("CreateModelPackage", ModelPackageGroupName=…)."""
    who = {"Arn": f"arn:aws:iam::{ACCOUNT}:user/bootstrap", "PrincipalId": "AIDA"}
    return lambda operation, **request: sagemaker.handle(Call(operation, request, REGION, ACCOUNT, who))


@pytest.fixture
def group(call, clock):
    call("CreateModelPackageGroup", ModelPackageGroupName=GROUP, Tags=[{"Key": "Project", "Value": "RetailMLOps"}])
    return GROUP


def refused(call, operation, **request):
    """(code, text) of the refusal."""
    with pytest.raises(AwsError) as caught:
        call(operation, **request)
    return caught.value.code, str(caught.value)


def training(**values):
    return {
        "TrainingJobName": "fit",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    } | values


def processing(**values):
    return {
        "ProcessingJobName": "clean",
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.large", "VolumeSizeInGB": 30}
        },
        "RoleArn": ROLE,
    } | values
