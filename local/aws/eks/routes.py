"""Calls of EKS for which ministack has no route: updates, key sets, Fargate profiles, the size of a node group."""

import re
from collections.abc import Callable
from typing import Any, Final

from ministack.services import eks

from local.aws.eks import nodegroups, updates
from local.aws.eks.running_planes import planes
from local.aws.eks.service_account_roles import issuer_keys
from local.aws.patch import Response, wrap


def _key_set(identifier: str, _body: bytes) -> Response:
    try:
        return eks._json_resp(200, issuer_keys(f"{planes().stack.aws_url}/oidc/id/{identifier}"))
    except LookupError as error:
        return eks._error(404, "ResourceNotFoundException", str(error))


def _describe_update(update_id: str, _body: bytes) -> Response:
    return updates.describe(update_id)


def _fargate_profiles(_body: bytes) -> Response:
    """Return an empty list: none can be created. The provider's operator asks for it before it deletes a cluster."""
    return eks._json_resp(200, {"fargateProfileNames": []})


ROUTES: Final[tuple[tuple[str, str, Callable[..., Response]], ...]] = (
    ("GET", r"/oidc/id/([A-Z0-9]+)/keys", _key_set),
    ("GET", r"/clusters/[^/]+/updates/([^/]+)", _describe_update),
    ("GET", r"/clusters/[^/]+/fargate-profiles", _fargate_profiles),
    ("POST", r"/clusters/([^/]+)/node-groups/([^/]+)/update-config", nodegroups.update_config),
)
"""Method, pattern of the path, handler(groups of the pattern…, body): tried before ministack's own."""


def _route(
    handle: Callable[..., Response], method: str, path: str, headers: dict[str, str], body: bytes, query: Any
) -> Response:
    for verb, pattern, handler in ROUTES:
        match = re.fullmatch(pattern, path)
        if verb == method and match:
            return handler(*match.groups(), body)
    return handle(method, path, headers, body, query)


PATCHES: Final = (wrap(eks, "_handle_request_sync", _route, "ministack has no route for these calls"),)
