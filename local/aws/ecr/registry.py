"""The registry at /v2/ wants the password of GetAuthorizationToken and checks its owner's IAM policies."""

import base64
import json
import secrets
import time

from ministack.core import iam_evaluator, responses
from ministack.core.router import extract_access_key_id
from ministack.services import ecr

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws.ecr import scans

VALID_SECONDS = 12 * 3600

_passwords: dict[str, tuple[str, float]] = {}
"""Password → the access key that it was given to, and until when it holds."""
_api, _registry = ecr.handle_request, ecr.handle_registry_request


async def api(method, path, headers, body, query):
    """ECR's API, with real passwords and scans."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if operation in scans.OPERATIONS:
        return scans.answer(operation, json.loads(body))
    status, out, answer = await _api(method, path, headers, body, query)
    if status == 200 and operation == "BatchDeleteImage":
        _forget(json.loads(body)["repositoryName"], json.loads(answer)["imageIds"])
    if status == 200 and operation == "GetAuthorizationToken":
        now, document, password = time.time(), json.loads(answer), secrets.token_urlsafe(48)
        for old in [old for old, (_key, until) in _passwords.items() if until < now]:
            del _passwords[old]
        _passwords[password] = extract_access_key_id(headers), now + VALID_SECONDS
        token = base64.b64encode(f"AWS:{password}".encode()).decode()
        document["authorizationData"][0]["authorizationToken"] = token
        answer = json.dumps(document).encode()
    return status, out, answer


def _forget(repository: str, deleted: list[dict[str, str]]) -> None:
    """A deleted image cannot be pulled by its digest any more; ministack's registry keeps the manifest."""
    for digest in {image["imageDigest"] for image in deleted}:
        if ecr._find_image(repository, {"imageDigest": digest}) is None:
            ecr._manifest_blobs.get(repository, {}).pop(digest, None)


def action_of(method: str, path: str) -> str:
    """The IAM action that a call of the registry's own protocol needs."""
    if method not in ("GET", "HEAD"):
        return "ecr:PutImage" if "/manifests/" in path else "ecr:UploadLayerPart"
    return "ecr:GetDownloadUrlForLayer" if "/blobs/" in path else "ecr:BatchGetImage"


def allowed(key: str, action: str, repository: str) -> bool:
    """Whether the policies of the access key's owner allow the action now."""
    who = iam_evaluator.resolve_principal(key, responses.get_account_id())
    if isinstance(who, iam_evaluator.AuthError):
        return False
    if who.policies is None:  # root
        return True
    region = responses.get_region()
    context = iam_evaluator.EvalContext(
        principal_arn=who.arn,
        principal_type=who.type,
        principal_account=who.account,
        action=action,
        region=region,
        resource_arn=f"arn:aws:ecr:{region}:{who.account}:repository/{repository}",
    )
    return iam_evaluator.evaluate(context, who.policies, *who.limits).decision == "Allow"


def password_in(authorization: str) -> str:
    """The password of an HTTP Basic header for the user AWS; empty if it is anything else."""
    scheme, _, value = authorization.partition(" ")
    try:
        user, _, password = base64.b64decode(value).decode().partition(":")
    except ValueError:
        return ""
    return password if scheme == "Basic" and user == "AWS" else ""


async def registry(method, path, headers, body, query):
    """The registry protocol, for who has a password and the right."""
    key, until = _passwords.get(password_in(headers.get("authorization", "")), ("", 0.0))
    if until < time.time():
        status, out, answer = ecr._registry_error(401, "UNAUTHORIZED", "authentication required")
        return status, {**out, "WWW-Authenticate": 'Basic realm="ecr"'}, answer
    _verb, repository, _reference = ecr._parse_v2_path(path) or ("", "", "")
    if repository and not allowed(key, action := action_of(method, path), repository):
        return ecr._registry_error(403, "DENIED", f"not authorized to perform {action} on {repository}")
    return await _registry(method, path, headers, body, query)


ecr.handle_request, ecr.handle_registry_request = api, registry
