"""EKS: clusters are real control planes, tokens are signed for the local STS, service accounts become roles."""

import base64
import logging
import re
import threading
import time
import uuid
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from botocore.exceptions import ClientError
from ministack.core import responses
from ministack.services import eks, iam, sts
from ministack.services.cloudformation import provisioners

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws import root
from local.aws.cloudformation import resources as cloudformation
from local.aws.eks.api_client import ApiError
from local.aws.eks.control_planes import Plane, Planes
from local.stack import config

log = logging.getLogger(__name__)

STACK = config.load()
RECONCILE_SECONDS = 2.0  # until an access policy reaches a new namespace
_MOCK_CA = base64.b64encode(b"MOCK-CA-CERTIFICATE").decode()  # what ministack notes when a start failed
_life = threading.RLock()  # of the one cluster: a create does not begin before a delete has ended


def _issuer_of(labels: dict[str, str]) -> str | None:
    cluster = eks._clusters.get_scoped(labels["account_id"], labels["region"], labels["cluster_name"])
    return cluster["identity"]["oidc"]["issuer"] if cluster else None


PLANES = Planes(STACK, _issuer_of)
eks._get_docker = lambda: PLANES
eks._k3s_gateway_host = lambda *_: "127.0.0.1"
eks._next_port = lambda: STACK.kube
eks._EKS_RBAC_RECONCILE_INTERVAL = RECONCILE_SECONDS


def plane_of(cluster: str) -> Plane | None:
    """The cluster's control plane if it has started."""
    plane = PLANES.planes.get(cluster)
    return plane if plane and plane.up else None


# --- the life of a cluster -------------------------------------------------------------------------------------------
_create, _delete, _sanitize = eks._create_cluster, eks._delete_cluster, eks._sanitize


def _create_cluster(body: dict[str, Any], creator: str | None = None) -> tuple:
    with _life:
        name = body.get("name", "")
        if others := [key[2] for key, _cluster in eks._clusters.all_items() if key[2] != name]:
            message = f"a local stack has one cluster at a time, and {others[0]} exists: delete it first"
            return eks._error(400, "ResourceLimitExceededException", message)
        body = body | {"kubernetesNetworkConfig": {"serviceIpv4Cidr": f"10.{STACK.service_octet}.0.0/16"}}
        return _create(body, creator)


def _delete_cluster(name: str) -> tuple:
    with _life:
        cluster = eks._clusters.get(name)
        if cluster and cluster["status"] == "CREATING":
            return eks._error(409, "ResourceInUseException", f"Cluster {name} is being created")
        if any(group["clusterName"] == name for group in eks._nodegroups.values()):
            return eks._error(409, "ResourceInUseException", f"Cluster {name} has nodegroups attached")
        for addon in [key for key in eks._addons if key.startswith(f"{name}/")]:
            eks._tags.pop(eks._addons.pop(addon)["addonArn"], None)
        response = _delete(name)
        if response[0] == 200:
            PLANES.end(name)
        return response


def _shown(cluster: dict[str, Any]) -> dict[str, Any]:
    """ministack calls a cluster ACTIVE although its start failed."""
    failed = cluster["certificateAuthority"]["data"] == _MOCK_CA
    return _sanitize(cluster) | ({"status": "FAILED"} if failed else {})


eks._create_cluster, eks._delete_cluster, eks._sanitize = _create_cluster, _delete_cluster, _shown


def resume() -> None:
    """Start the control planes of restored clusters again, on their own data, and wait for them."""
    for (account, region, name), cluster in list(eks._clusters.all_items()):
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        cluster["certificateAuthority"]["data"] = ""
        eks._restart_k3s(name)
        while not cluster["certificateAuthority"]["data"] and name in eks._clusters:
            time.sleep(0.1)


# --- access policies as RBAC, without a kubectl for each round --------------------------------------------------------
_PATHS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
}
_granted: dict[str, list[dict[str, Any]]] = {}
"""Control plane → the objects of the last round."""


def _path(thing: dict[str, Any]) -> str:
    return f"{_PATHS[thing['kind']].format(**thing['metadata'])}/{thing['metadata']['name']}"


def _grant(plane: Plane, wanted: list[dict[str, Any]]) -> None:
    for thing in wanted:
        plane.api.call("PATCH", _path(thing), thing, "apply", fieldManager="eks", force="true")
    keep = {_path(thing) for thing in wanted}
    for kind in ("ClusterRoleBinding", "RoleBinding"):
        everywhere = _PATHS[kind].replace("/namespaces/{namespace}", "")
        for there in plane.api.items(everywhere, labelSelector=f"{eks._ACCESS_POLICY_BINDING_LABEL}=true"):
            if (path := _path(there | {"kind": kind})) not in keep:
                plane.api.call("DELETE", path)


def _reconcile(cluster: str, account: str, region: str) -> bool:
    plane = plane_of(cluster)
    if not plane:
        return False
    try:
        namespaces = [item["metadata"]["name"] for item in plane.api.items("/api/v1/namespaces")]
        wanted = eks._access_policy_rbac_objects(cluster, account, region, namespaces)
        if _granted.get(plane.issuer) != wanted:
            _grant(plane, wanted)
            _granted[plane.issuer] = wanted
    except ApiError as error:
        log.info("access policies of %s: %s", cluster, error)
        return False
    return True


eks._reconcile_access_policy_rbac = _reconcile


# --- bearer tokens signed for the local STS ---------------------------------------------------------------------------
_decode = eks._decode_aws_iam_token


def _decode_token(token: str) -> tuple | None:
    """ministack accepts URLs of https://sts.<region>.amazonaws.com; clients here sign the local endpoint."""
    try:
        url = urlsplit(base64.urlsafe_b64decode(token.removeprefix(eks._EKS_TOKEN_PREFIX) + "==").decode())
        query = parse_qs(url.query, keep_blank_values=True, strict_parsing=True)
        region = query["X-Amz-Credential"][0].split("/")[2]
    except (ValueError, LookupError):
        return None
    if f"{url.scheme}://{url.netloc}" != STACK.aws_url:
        return _decode(token)
    if url.path != "/" or any(len(values) != 1 for values in query.values()):
        return None
    return SimpleNamespace(netloc=url.netloc, path="/", hostname=f"sts.{region}.amazonaws.com"), query


eks._decode_aws_iam_token = _decode_token


# --- IAM roles for service accounts -----------------------------------------------------------------------------------
def _issuer_keys(issuer: str) -> dict[str, Any]:
    """LookupError when no running cluster has this issuer."""
    for plane in PLANES.list():
        if plane.issuer == issuer and plane.up:
            return plane.key_set()
    raise LookupError(f"Couldn't retrieve verification key from your identity provider {issuer}")


_trust_denied, _principal = sts._web_identity_trust_denied, sts._web_identity_principal


def _web_identity_denied(role_arn: str, params: dict[str, Any], use_json: bool) -> Any:
    """ministack evaluates the trust policy over unverified claims: provider, signature, audience, times come first."""
    try:
        token, account = sts._p(params, "WebIdentityToken"), role_arn.split(":")[4]
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss", "")
        arn = f"arn:aws:iam::{account}:oidc-provider/{issuer.split('://', 1)[-1]}"
        provider = iam._oidc_providers.get_scoped(account, None, arn)
        if not provider:
            raise LookupError(f"No OpenIDConnect provider found in your account for {issuer}")
        key = jwt.PyJWKSet.from_dict(_issuer_keys(issuer))[jwt.get_unverified_header(token).get("kid", "")]
        jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            issuer=issuer,
            audience=provider["ClientIDList"],
            options={"require": ["exp", "iat", "sub", "aud"]},
        )
    except jwt.ExpiredSignatureError as error:
        return sts._error(400, "ExpiredTokenException", str(error), ns="sts")
    except (jwt.PyJWTError, LookupError) as error:
        return sts._error(400, "InvalidIdentityToken", str(error), ns="sts")
    return _trust_denied(role_arn, params, use_json)


def _web_identity_principal(*args: Any) -> tuple[str, dict[str, Any]]:
    """Kubernetes' aud is a list; ministack compares it with StringEquals as it is."""
    principal, keys = _principal(*args)
    return principal, {k: v[0] if isinstance(v, list) and len(v) == 1 else v for k, v in keys.items()}


sts._web_identity_trust_denied, sts._web_identity_principal = _web_identity_denied, _web_identity_principal


# --- calls that ministack has no route for ----------------------------------------------------------------------------
_updates: dict[str, dict[str, Any]] = {}
_handle = eks._handle_request_sync


def record_update(kind: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """An Update as DescribeUpdate shows it, InProgress; whoever does the work sets its status."""
    update = {
        "id": str(uuid.uuid4()),
        "status": "InProgress",
        "type": kind,
        "params": [{"type": name[:1].upper() + name[1:], "value": str(value)} for name, value in parameters.items()],
        "createdAt": time.time(),
        "errors": [],
    }
    _updates[str(update["id"])] = update
    return update


def _describe_update(update: str) -> tuple:
    if update not in _updates:
        return eks._error(404, "ResourceNotFoundException", f"No update found for ID: {update}")
    return eks._json_resp(200, {"update": _updates[update]})


def _keys(identifier: str) -> tuple:
    try:
        return eks._json_resp(200, _issuer_keys(f"{STACK.aws_url}/oidc/id/{identifier}"))
    except LookupError as error:
        return eks._error(404, "ResourceNotFoundException", str(error))


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", r"/oidc/id/([A-Z0-9]+)/keys", lambda identifier, _body: _keys(identifier)),
    ("GET", r"/clusters/[^/]+/updates/([^/]+)", lambda update, _body: _describe_update(update)),
    # none can be made; the provider's operator asks for them before it deletes a cluster
    ("GET", r"/clusters/[^/]+/fargate-profiles", lambda _body: eks._json_resp(200, {"fargateProfileNames": []})),
]
"""Method, pattern of the path, handler(groups of the pattern…, body bytes): tried before ministack's own."""


def _route(method: str, path: str, headers: Any, body: bytes, query: Any) -> tuple:
    for verb, pattern, handler in ROUTES:
        if verb == method and (match := re.fullmatch(pattern, path)):
            return handler(*match.groups(), body)
    return _handle(method, path, headers, body, query)


eks._handle_request_sync = _route


# --- CloudFormation waits for the cluster and hears a refusal, as on AWS ----------------------------------------------
_handlers = cloudformation.handlers("AWS::EKS::Cluster")
_stack_create = _handlers["create"]


def _create_in_stack(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, str]]:
    name, _attributes = _stack_create(logical_id, properties, stack)
    cluster = eks._clusters[name]
    while cluster["status"] == "CREATING":
        time.sleep(0.1)
    if _shown(cluster)["status"] == "FAILED":
        _delete_cluster(name)
        raise ValueError(f"the control plane of {name} did not start: see the log of the embedded AWS")
    return name, provisioners._eks_cluster_attrs(cluster)


def _delete_in_stack(name: str, _properties: dict[str, Any]) -> None:
    try:
        root.client("eks").delete_cluster(name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


_handlers.update(create=_create_in_stack, delete=_delete_in_stack)
