"""The registry's hook: newest package, registered once, decided with its reasons. AWS answers by Stubber."""

import datetime as dt

import boto3
import pytest
from botocore.stub import Stubber

from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.model_registry import RegistryHook, registration

GROUP = "retail-price-sensitivity-models"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def arn(version):
    return f"arn:aws:sagemaker:ap-southeast-1:123456789012:model-package/{GROUP}/{version}"


def described(version, status="Approved", job="job"):
    return {
        "ModelPackageName": GROUP,
        "ModelPackageGroupName": GROUP,
        "ModelPackageVersion": version,
        "ModelPackageArn": arn(version),
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        "CustomerMetadataProperties": {"training_job": job},
        "InferenceSpecification": {"Containers": [{"Image": "i", "ModelDataUrl": "s3://b/m.tar.gz"}]},
    }


def summary(version, status="Approved"):
    return {
        "ModelPackageArn": arn(version),
        "ModelPackageVersion": version,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": status,
    }


@pytest.fixture
def stub(monkeypatch):
    client = boto3.client("sagemaker", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")
    monkeypatch.setattr(RegistryHook, "conn", client)
    with Stubber(client) as made:
        yield made
        made.assert_no_pending_responses()


def listed(stub, *summaries, **wanted):
    request = {"ModelPackageGroupName": GROUP, "SortBy": "CreationTime", "SortOrder": "Descending", **wanted}
    stub.add_response("list_model_packages", {"ModelPackageSummaryList": list(summaries)}, request)


def test_newest_is_the_highest_version(stub):
    listed(stub, summary(2), summary(10), summary(9), ModelApprovalStatus="Approved")
    stub.add_response("describe_model_package", described(10), {"ModelPackageName": arn(10)})

    assert RegistryHook().newest("Approved").version == 10


def test_empty_registry_has_no_newest(stub):
    listed(stub)
    assert RegistryHook().newest() is None


REQUEST = registration("s3://b/m.tar.gz", "i", {"training_job": "job"}, evidence_url="s3://b/e.json", token="t" * 36)


def test_model_is_registered_once(stub):
    listed(stub, summary(3))
    stub.add_response("describe_model_package", described(3, "PendingManualApproval"))

    assert RegistryHook().register(REQUEST).version == 3


def test_new_model_is_registered(stub):
    listed(stub, summary(3))
    stub.add_response("describe_model_package", described(3, job="another"))
    stub.add_response("create_model_package", {"ModelPackageArn": arn(4)}, REQUEST)
    stub.add_response("describe_model_package", described(4, "PendingManualApproval"))

    assert RegistryHook().register(REQUEST).version == 4


def test_decision_keeps_its_reason_within_the_limit(stub):
    expected = {"ModelPackageArn": arn(1), "ModelApprovalStatus": "Rejected", "ApprovalDescription": "x" * 1024}
    stub.add_response("update_model_package", {"ModelPackageArn": arn(1)}, expected)

    RegistryHook().decide(arn(1), "Rejected", "x" * 2000)


def test_only_a_decision_is_written(stub):
    with pytest.raises(RetailError, match="PendingManualApproval"):
        RegistryHook().decide(arn(1), "PendingManualApproval", "")
