"""Stacks against the AWS emulation: what goes wrong with them, and how the next run goes on."""

import json
import os
import re
import signal
from unittest import mock

import pytest

from retail_mlops.hooks.cloudformation import Stack, StackHook
from tests.local.aws.conftest import Service, eventually, service  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

REGION = "ap-southeast-1"
BUCKET = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}
REPOSITORY = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "mlops/one"}}


def stack(name, **resources):
    return Stack(name, json.dumps({"Resources": resources}), {}, {"Project": "RetailMLOps"})


def bucket(name):
    return BUCKET | {"Properties": BUCKET["Properties"] | {"BucketName": name}}


@pytest.fixture
def hook(service: Service):  # noqa: F811
    keys = service.client("s3")._request_signer._credentials
    connection = {
        "conn_type": "aws",
        "login": keys.access_key,
        "password": keys.secret_key,
        "extra": {"region_name": REGION},
    }
    told = {"AIRFLOW_CONN_AWS_ADMIN": json.dumps(connection), "AWS_ENDPOINT_URL": service.stack.aws_url}
    with mock.patch.dict(os.environ, told):
        yield StackHook(aws_conn_id="aws_admin", region_name=REGION)


def deploy(hook, wanted):
    """The operator's steps, without Airflow's deferral; the status that the stack ends in."""
    found = hook.open_change_set(wanted, "deploy", 0.1)
    if found is not None:
        hook.execute_change_set(wanted.name, "deploy")
    return eventually(lambda: not (now := hook.status(wanted.name)).endswith("IN_PROGRESS") and now)


def test_plan_of_a_fresh_account_leaves_neither_stack_nor_change_set(hook):
    wanted = stack("fresh", Bucket=bucket("plan-only"), Repository=REPOSITORY)
    text = hook.plan(wanted, "plan", 0.1)
    assert "fresh would be created" in text
    assert re.search(r"\| Add +\| Bucket ", text)
    assert hook.status("fresh") is None
    assert hook.conn.list_change_sets(StackName="fresh")["Summaries"] == []


def test_plan_of_a_stack_whose_imports_do_not_exist_yet_says_so(hook):
    role = {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::ImportValue": "made-later"}}}
    text = hook.plan(stack("later", Bucket=role), "plan", 0.1)
    assert "imports made-later, which no stack exports yet" in text
    assert re.search(r"\| Add +\| Bucket ", text)
    assert hook.status("later") is None


def test_name_that_somebody_else_has_fails_is_named_and_can_be_mended(hook, service):  # noqa: F811
    s3, wanted = service.client("s3"), stack("taken", Bucket=bucket("taken-by-somebody"))
    s3.create_bucket(Bucket="taken-by-somebody", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert deploy(hook, wanted) == "ROLLBACK_COMPLETE"
    assert any(
        line.startswith("Bucket (AWS::S3::Bucket): ") and "already exists" in line for line in hook.failures("taken")
    )
    assert "deleted and created again" in hook.plan(wanted, "plan", 0.1)

    s3.delete_bucket(Bucket="taken-by-somebody")
    assert deploy(hook, wanted) == "CREATE_COMPLETE"
    assert hook.open_change_set(wanted, "again", 0.1) is None
    assert hook.plan(wanted, "plan", 0.1) == "taken is up to date"


def test_what_was_changed_by_hand_is_named(hook, service):  # noqa: F811
    deploy(hook, stack("drifting", Bucket=bucket("drifting-bucket"), Repository=REPOSITORY))
    assert hook.drift("drifting", 0.1) == []
    service.client("s3").put_bucket_versioning(
        Bucket="drifting-bucket", VersioningConfiguration={"Status": "Suspended"}
    )
    service.client("ecr").delete_repository(repositoryName="mlops/one")
    assert hook.drift("drifting", 0.1) == [
        "Bucket (AWS::S3::Bucket) was modified: /VersioningConfiguration/Status",
        "Repository (AWS::ECR::Repository) was deleted",
    ]


def test_policy_text_that_says_the_same_is_no_drift(hook):
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "eks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    text = {"Fn::Sub": json.dumps(trust)}
    role = {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "as-text", "AssumeRolePolicyDocument": text}}
    deploy(hook, stack("text", Role=role))
    assert hook.drift("text", 0.1) == []


def test_change_set_that_replaces_a_repository_needs_approval(hook):
    two = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "mlops/two"}}
    three = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "mlops/three"}}
    tagged = two | {"Properties": two["Properties"] | {"ImageTagMutability": "IMMUTABLE"}}
    deploy(hook, stack("named", Repository=two))

    (change,) = hook.open_change_set(stack("named", Repository=tagged), "harmless", 0.1).changes
    assert not change.needs_approval
    (change,) = hook.open_change_set(stack("named", Repository=three), "replacing", 0.1).changes
    assert (change.causes, change.needs_approval) == (("RepositoryName",), True)
    (removed, _added) = hook.open_change_set(stack("named", Zoo=bucket("zoo")), "removing", 0.1).changes
    assert (removed.action, removed.needs_approval) == ("Remove", True)


def test_update_that_a_kill_cut_off_is_rolled_back_and_done_again(hook, service):  # noqa: F811
    before = stack("cut", Bucket=bucket("cut-bucket"))
    waiting = {
        "Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "Wait": {
            "Type": "AWS::CloudFormation::WaitCondition",
            "Properties": {"Handle": {"Ref": "Handle"}, "Timeout": "600"},
        },
    }
    assert deploy(hook, before) == "CREATE_COMPLETE"
    hook.open_change_set(stack("cut", Bucket=bucket("cut-bucket"), **waiting), "slow", 0.1)
    hook.execute_change_set("cut", "slow")
    saved = service.state / "aws" / "ministack" / "cloudformation.json"
    eventually(lambda: saved.exists() and "UPDATE_IN_PROGRESS" in saved.read_text())
    service.end(signal.SIGKILL)
    service.start()

    assert hook.status("cut") == "UPDATE_FAILED"
    after = stack("cut", Bucket=bucket("cut-bucket"), Repository=REPOSITORY | {"Properties": {}})
    assert deploy(hook, after) == "UPDATE_COMPLETE"
