"""The check before the first run against the AWS emulation, with one thing after the other missing."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from cli.preflight import caller, command, limits, project
from cli.preflight.finding import Account, Check, Finding
from include.settings import REGION, Settings, settings
from tests.local.aws.conftest import Service

pytestmark = pytest.mark.integration

TEMPLATE = "Resources: {Bucket: {Type: AWS::S3::Bucket, Properties: {BucketName: %s}}}"


Client = Callable[[str], Any]


def findings(check: Check, client: Client, **fields: Any) -> list[Finding]:
    """Return what a check finds in the account of these clients, with the settings `fields`."""
    return [finding for _, finding in command.run_checks(Account(client, Settings(**fields)), [check])]


@pytest.fixture
def of_nobody(service: Service, nobody: dict[str, str]) -> Client:
    """Clients of a user without any right."""
    keys = {"aws_access_key_id": nobody["AccessKeyId"], "aws_secret_access_key": nobody["SecretAccessKey"]}
    return lambda name: boto3.client(name, REGION, endpoint_url=service.stack.aws_url, **keys)


def test_an_administrator_of_an_empty_account_is_told_what_is_there(service: Service) -> None:
    checks = (caller.identity, caller.clock, caller.permissions, project.bucket, project.stacks)
    results = [finding for check in checks for finding in findings(check, service.client)]
    assert {finding.state for finding in results} == {"ok"}
    assert results[-1].what == "0 of 8 stacks exist"


def test_another_account_is_named(service: Service) -> None:
    (finding,) = findings(caller.identity, service.client, account_id="999999999999")
    assert (finding.state, finding.remedy) == ("missing", "RETAIL_ACCOUNT_ID=123456789012 in .env, or log in elsewhere")


def test_rights_that_provision_needs_and_one_lacks_are_named(service: Service) -> None:
    iam = service.client("iam")
    iam.create_user(UserName="half")
    allowed = [action for action in caller.NEEDED if action != "eks:CreateCluster"] + ["iam:Get*", "iam:Simulate*"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}]}
    iam.put_user_policy(UserName="half", PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="half")["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    (finding,) = findings(
        caller.permissions, lambda name: boto3.client(name, REGION, endpoint_url=service.stack.aws_url, **keys)
    )
    assert (finding.state, finding.what) == ("missing", "arn:aws:iam::123456789012:user/half may not eks:CreateCluster")


def test_who_may_not_even_ask_gets_the_reason(of_nobody: Client) -> None:
    states = {check.__name__: findings(check, of_nobody)[0].state for check in (caller.permissions, limits.budget)}
    assert states == {"permissions": "unknown", "budget": "unknown"}


def test_bucket_that_answers_forbidden_is_somebody_elses(of_nobody: Client, service: Service) -> None:
    s3 = service.client("s3")
    s3.create_bucket(Bucket=settings().bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    try:
        assert [finding.what for finding in findings(project.bucket, service.client)] == [
            f"{settings().bucket} is yours"
        ]
        (foreign,) = findings(project.bucket, of_nobody)
        assert (foreign.state, foreign.remedy) == ("missing", "choose another RETAIL_ENVIRONMENT")
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
    dead, _ = findings(project.stacks, service.client)
    assert (dead.state, dead.what) == ("missing", f"stack {name} is DELETE_FAILED")


def test_service_linked_role_that_is_there_is_not_asked_for(service: Service) -> None:
    before = findings(limits.linked_roles, service.client)
    assert [finding.state for finding in before] == ["note"] * 5
    service.client("iam").create_service_linked_role(AWSServiceName="eks.amazonaws.com")
    after = findings(limits.linked_roles, service.client)
    assert [finding.state for finding in after] == ["ok"] + ["note"] * 4
