"""ECR: real registry passwords, checked permissions, image scans, and deleted images that are gone.

The registry at /v2/ wants the password of GetAuthorizationToken and checks the IAM policies of the password's owner.
"""

import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ministack.core import iam_evaluator, responses
from ministack.core.router import extract_access_key_id
from ministack.services import ecr

from local.aws.ecr import scans
from local.aws.patch import Response, wrap

Handler = Callable[..., Awaitable[Response]]

VALID_SECONDS: Final = 12 * 3600

_passwords: dict[str, tuple[str, float]] = {}
"""Password → the access key that it was given to, and until when it is valid."""


# --- the API ---
async def _handle_api(
    handle: Handler, method: str, path: str, headers: dict[str, str], body: bytes, query: Any
) -> Response:
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if operation in scans.OPERATIONS:
        return scans.answer(operation, json.loads(body))
    status, answer_headers, answer = await handle(method, path, headers, body, query)
    if status == 200 and operation == "BatchDeleteImage":
        _forget_images(json.loads(body)["repositoryName"], json.loads(answer)["imageIds"])
    if status == 200 and operation == "GetAuthorizationToken":
        answer = _with_password(json.loads(answer), extract_access_key_id(headers))
    return status, answer_headers, answer


def _with_password(document: dict[str, Any], access_key: str) -> bytes:
    """Return the answer of GetAuthorizationToken with a new password for the owner of the access key."""
    now = time.time()
    for expired in [password for password, (_key, until) in _passwords.items() if until < now]:
        del _passwords[expired]
    password = secrets.token_urlsafe(48)
    _passwords[password] = access_key, now + VALID_SECONDS
    token = base64.b64encode(f"AWS:{password}".encode()).decode()
    document["authorizationData"][0]["authorizationToken"] = token
    return json.dumps(document).encode()


def _forget_images(repository: str, deleted: list[dict[str, str]]) -> None:
    """Drop the manifests of deleted images, which could still be pulled by digest."""
    for digest in {image["imageDigest"] for image in deleted}:
        if ecr._find_image(repository, {"imageDigest": digest}) is None:
            ecr._manifest_blobs.get(repository, {}).pop(digest, None)


# --- the registry's own protocol ---
async def _handle_registry(
    handle: Handler, method: str, path: str, headers: dict[str, str], body: bytes, query: Any
) -> Response:
    access_key, until = _passwords.get(password_in(headers.get("authorization", "")), ("", 0.0))
    if until < time.time():
        status, answer_headers, answer = ecr._registry_error(401, "UNAUTHORIZED", "authentication required")
        return status, {**answer_headers, "WWW-Authenticate": 'Basic realm="ecr"'}, answer
    _verb, repository, _reference = ecr._parse_v2_path(path) or ("", "", "")
    action = action_of(method, path)
    if repository and not is_allowed(access_key, action, repository):
        return ecr._registry_error(403, "DENIED", f"not authorized to perform {action} on {repository}")
    return await handle(method, path, headers, body, query)


def action_of(method: str, path: str) -> str:
    """Return the IAM action that a call of the registry's own protocol needs."""
    if method not in ("GET", "HEAD"):
        return "ecr:PutImage" if "/manifests/" in path else "ecr:UploadLayerPart"
    return "ecr:GetDownloadUrlForLayer" if "/blobs/" in path else "ecr:BatchGetImage"


def is_allowed(access_key: str, action: str, repository: str) -> bool:
    """Return whether the policies of the access key's owner allow the action now."""
    principal = iam_evaluator.resolve_principal(access_key, responses.get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return False
    if principal.policies is None:  # root
        return True
    region = responses.get_region()
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        region=region,
        resource_arn=f"arn:aws:ecr:{region}:{principal.account}:repository/{repository}",
    )
    decision = iam_evaluator.evaluate(context, principal.policies, *principal.limits).decision
    return str(decision) == "Allow"


def password_in(authorization: str) -> str:
    """Return the password of an HTTP Basic header for the user AWS, or an empty text for anything else."""
    scheme, _, value = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return ""
    return password if scheme == "Basic" and user == "AWS" else ""


PATCHES: Final = (
    wrap(ecr, "handle_request", _handle_api, "no scans; every password is the same; deleted images can be pulled"),
    wrap(ecr, "handle_registry_request", _handle_registry, "the registry takes any password and checks no policy"),
)
