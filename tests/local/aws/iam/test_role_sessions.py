"""Services open sessions only with roles that trust them; children fetch credentials with a secret."""

import asyncio
import json

import pytest
from ministack.services import iam, sts

from local.aws.iam import role_sessions as roles

ACCOUNT = "123456789012"


def trust(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(service, action="sts:AssumeRole", effect="Allow"):
    return {"Effect": effect, "Principal": {"Service": service}, "Action": action}


@pytest.fixture
def role():
    """Makes a role with a trust policy; returns its ARN."""
    names = []

    def make(policy, name="job"):
        iam._roles.set_scoped(ACCOUNT, None, name, {"RoleId": "AROAEXAMPLE", "AssumeRolePolicyDocument": policy})
        names.append(name)
        return f"arn:aws:iam::{ACCOUNT}:role/{name}"

    yield make
    for name in names:
        iam._roles.pop_scoped(ACCOUNT, None, name)


def get(path, authorization):
    """(status, JSON body) of a GET to the local stack's application."""
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"authorization", authorization.encode())]
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    asyncio.run(roles.answer(scope, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_trusted_service_gets_a_session_of_the_role(role):
    credentials = roles.assume(role(trust(allow("sagemaker.amazonaws.com"))), "sagemaker.amazonaws.com", "SageMaker")
    session = sts._sessions[credentials["AccessKeyId"]]
    assert session["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/SageMaker"
    assert session["SecretAccessKey"] == credentials["SecretAccessKey"]


@pytest.mark.parametrize(
    "policy",
    [
        trust(allow("ec2.amazonaws.com")),
        trust(allow("sagemaker.amazonaws.com", effect="Deny")),
        trust(allow("sagemaker.amazonaws.com", action="sts:TagSession")),
        trust(),
    ],
)
def test_service_that_the_role_does_not_trust_is_refused(role, policy):
    with pytest.raises(roles.NotTrusted, match="does not name the service"):
        roles.assume(role(policy), "sagemaker.amazonaws.com", "SageMaker")


def test_missing_role_is_refused():
    with pytest.raises(roles.NotTrusted, match="there is no such role"):
        roles.assume(f"arn:aws:iam::{ACCOUNT}:role/absent", "sagemaker.amazonaws.com", "SageMaker")


def test_child_fetches_credentials_with_its_secret_until_it_is_forgotten(role):
    secret = roles.register_holder(role(trust(allow("ec2.amazonaws.com"))), "ec2.amazonaws.com", "i-1")
    status, body = get(roles.PATH, secret)
    assert (status, body.keys()) == (200, {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"})
    roles.forget(secret)
    assert get(roles.PATH, secret)[0] == 403


def test_unknown_secret_is_refused():
    assert get(roles.PATH, "guessed")[0] == 403


def test_secrets_are_the_childs_own(role):
    arn = role(trust(allow("ec2.amazonaws.com")))
    assert roles.register_holder(arn, "ec2.amazonaws.com", "i-1") != roles.register_holder(
        arn, "ec2.amazonaws.com", "i-1"
    )
