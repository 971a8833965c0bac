"""Sessions that AWS services open with a role, and the endpoint where nodes and jobs fetch their credentials.

EC2 and SageMaker assume the role of a node or a job as service principals. No client can request that, so the caller is
code of this process. The role must exist, and its trust policy must name the service. `register_holder` returns the
secret with which a child process fetches and renews such credentials from `PATH`: what the metadata service of EC2 and
the container credentials endpoint do on AWS.
"""

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import boto3
from ministack import app
from ministack.core import iam_evaluator
from ministack.services import iam, sts

from local.stack import renewing
from local.stack.renewing import Credentials

PATH: Final = "/_local/credentials"
LIFE_SECONDS: Final = 3600

_holders: dict[str, tuple[str, str, str]] = {}  # secret: role ARN, service, session name


class NotTrusted(Exception):
    """The role does not exist or its trust policy does not name the service."""


def _trusts(statement: dict[str, Any], service: str) -> bool:
    actions = statement.get("Action", [])
    return (
        statement.get("Effect") == "Allow"
        and "sts:AssumeRole" in ([actions] if isinstance(actions, str) else actions)
        and iam_evaluator._service_principal_matches(statement.get("Principal"), service)
    )


def assume(role_arn: str, service: str, name: str) -> Credentials:
    """Return credentials of the role for LIFE_SECONDS. Raise NotTrusted if the service may not assume the role.

    service: a principal such as sagemaker.amazonaws.com; name: the session's.
    """
    account, role_name = role_arn.split(":")[4], role_arn.rpartition("/")[2]
    role = iam._roles.get_scoped(account, None, role_name)
    trust = role["AssumeRolePolicyDocument"] if role else {"Statement": []}
    trust = json.loads(trust) if isinstance(trust, str) else trust
    statements = trust["Statement"] if isinstance(trust["Statement"], list) else [trust["Statement"]]
    if not any(_trusts(statement, service) for statement in statements):
        reason = "its trust policy does not name the service" if role else "there is no such role"
        raise NotTrusted(f"{service} cannot assume the role {role_arn}: {reason}")
    key = "ASIA" + secrets.token_hex(8).upper()
    secret, token = secrets.token_urlsafe(30), secrets.token_urlsafe(60)
    expiration = time.time() + LIFE_SECONDS
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role_name}/{name}",
            "UserId": f"{role['RoleId']}:{name}",
            "SecretAccessKey": secret,
            "SessionToken": token,
            "Expiration": expiration,
        },
    )
    expires_at = datetime.fromtimestamp(expiration, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token, "Expiration": expires_at}


def session(role_arn: str, service: str, name: str, region: str) -> boto3.Session:
    """Return a boto3 session of the role that renews its credentials. Raise NotTrusted as `assume` does."""
    return renewing.session(lambda: assume(role_arn, service, name), region, "assume-role")


def register_holder(role_arn: str, service: str, name: str) -> str:
    """Return a new secret that fetches the role's credentials from PATH, as Authorization header, until `forget`."""
    secret = secrets.token_urlsafe(32)
    _holders[secret] = role_arn, service, name
    return secret


def forget(secret: str) -> None:
    """Refuse the secret from now on."""
    _holders.pop(secret, None)


Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def answer(scope: Message, receive: Receive, send: Send) -> None:
    """Answer an ASGI request: the credentials endpoint here, everything else by ministack."""
    if scope["type"] != "http" or scope["path"] != PATH:
        await app.app(scope, receive, send)
        return
    secret = dict(scope["headers"]).get(b"authorization", b"").decode(errors="replace")
    body: Mapping[str, object]
    try:
        status, body = 200, assume(*_holders[secret])
    except KeyError:
        status, body = 403, {"message": "no node or job of this local stack has this secret"}
    except NotTrusted as error:
        status, body = 403, {"message": str(error)}
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})
