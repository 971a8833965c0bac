"""The check before the first run against the embedded AWS, with one thing after the other missing."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from cli import preflight
from cli.preflight import Finding
from include.settings import REGION, Settings, settings
from tests.local.aws.conftest import Service

pytestmark = pytest.mark.integration

TEMPLATE = "Resources: {Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: %s}}}"


def found(check: Callable[..., Any], ask: Callable[..., Any]) -> list[Finding]:
    return [finding for _, finding in preflight.look(ask, [check])]


@pytest.fixture
def nobody_asks(service: Service, nobody: dict[str, str]) -> Callable[..., Any]:
    keys = {"aws_access_key_id": nobody["AccessKeyId"], "aws_secret_access_key": nobody["SecretAccessKey"]}
    return lambda name: boto3.client(name, REGION, endpoint_url=service.stack.aws_url, **keys)


def test_an_administrator_of_an_empty_account_is_told_what_is_there(service: Service) -> None:
    checks = (preflight.identity, preflight.clock, preflight.permissions, preflight.bucket, preflight.stacks)
    findings = [finding for check in checks for finding in found(check, service.client)]
    assert {finding.state for finding in findings} == {"ok"}
    assert findings[-1].what == "0 of 8 stacks are there"


def test_another_account_is_named(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "settings", lambda: Settings(account_id="999999999999"))
    (finding,) = found(preflight.identity, service.client)
    assert (finding.state, finding.cure) == ("missing", "RETAIL_ACCOUNT_ID=123456789012 in .env, or log in elsewhere")


def test_rights_that_provision_needs_and_one_lacks_are_named(service: Service) -> None:
    iam = service.client("iam")
    iam.create_user(UserName="half")
    allowed = [action for action in preflight.NEEDED if action != "eks:CreateCluster"] + ["iam:Get*", "iam:Simulate*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    iam.put_user_policy(UserName="half", PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="half")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    (finding,) = found(
        preflight.permissions, lambda name: boto3.client(name, REGION, endpoint_url=service.stack.aws_url, **keys)
    )
    assert (finding.state, finding.what) == ("missing", "arn:aws:iam::123456789012:user/half may not eks:CreateCluster")


def test_who_may_not_even_ask_gets_the_reason(nobody_asks: Callable[..., Any]) -> None:
    states = {check.__name__: found(check, nobody_asks)[0].state for check in (preflight.permissions, preflight.budget)}
    assert states == {"permissions": "unknown", "budget": "unknown"}


def test_bucket_that_answers_forbidden_is_somebody_elses(nobody_asks: Callable[..., Any], service: Service) -> None:
    s3 = service.client("s3")
    s3.create_bucket(Bucket=settings().bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    try:
        assert [finding.what for finding in found(preflight.bucket, service.client)] == [
            f"{settings().bucket} is yours"
        ]
        (foreign,) = found(preflight.bucket, nobody_asks)
        assert (foreign.state, foreign.cure) == ("missing", "choose another RETAIL_ENVIRONMENT")
    finally:
        s3.delete_bucket(Bucket=settings().bucket)


def test_stack_that_provision_would_refuse_is_named(service: Service) -> None:
    cloudformation, s3 = service.client("cloudformation"), service.client("s3")
    name = settings().stack("lake")
    cloudformation.create_stack(StackName=name, TemplateBody=TEMPLATE % "full-bucket")
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    s3.put_object(Bucket="full-bucket", Key="x", Body=b"x")
    cloudformation.delete_stack(StackName=name)
    with pytest.raises(Exception, match="DELETE_FAILED"):
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    dead, _ = found(preflight.stacks, service.client)
    assert (dead.state, dead.what) == ("missing", f"stack {name} is DELETE_FAILED")


def test_service_linked_role_that_is_there_is_not_asked_for(service: Service) -> None:
    before = found(preflight.linked_roles, service.client)
    assert [finding.state for finding in before] == ["note"] * 5
    service.client("iam").create_service_linked_role(AWSServiceName="eks.amazonaws.com")
    after = found(preflight.linked_roles, service.client)
    assert [finding.state for finding in after] == ["ok"] + ["note"] * 4
