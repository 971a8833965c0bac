"""EKS clusters as real control planes: create, delete, resume, and the status that a failed start gives."""

import base64
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ministack.core import responses
from ministack.services import eks

from local.aws.eks.running_planes import planes
from local.aws.patch import Patch, Response, replace, wrap
from local.stack.waiting import wait_until

_MOCK_CA: Final = base64.b64encode(b"MOCK-CA-CERTIFICATE").decode()
"""What ministack stores as the certificate authority when a start failed."""
_lock: Final = threading.RLock()
"""Over the life of the one cluster: a create does not begin before a delete has ended."""

Cluster = dict[str, Any]


def _create_cluster(
    create: Callable[[Cluster, str | None], Response], body: Cluster, creator: str | None = None
) -> Response:
    with _lock:
        name = body.get("name", "")
        others = [key[2] for key, _cluster in eks._clusters.all_items() if key[2] != name]
        if others:
            message = f"a local stack has one cluster at a time, and {others[0]} exists: delete it first"
            return eks._error(400, "ResourceLimitExceededException", message)
        network = {"serviceIpv4Cidr": f"10.{planes().stack.service_octet}.0.0/16"}
        return create(body | {"kubernetesNetworkConfig": network}, creator)


def _delete_cluster(delete: Callable[[str], Response], name: str) -> Response:
    with _lock:
        cluster = eks._clusters.get(name)
        if cluster and cluster["status"] == "CREATING":
            return eks._error(409, "ResourceInUseException", f"Cluster {name} is being created")
        if any(group["clusterName"] == name for group in eks._nodegroups.values()):
            return eks._error(409, "ResourceInUseException", f"Cluster {name} has nodegroups attached")
        for addon in [key for key in eks._addons if key.startswith(f"{name}/")]:
            eks._tags.pop(eks._addons.pop(addon)["addonArn"], None)
        response = delete(name)
        if response[0] == 200:
            planes().end(name)
        return response


def _with_failure(sanitize: Callable[[Cluster], Cluster], cluster: Cluster) -> Cluster:
    failed = cluster["certificateAuthority"]["data"] == _MOCK_CA
    return sanitize(cluster) | ({"status": "FAILED"} if failed else {})


def resume() -> None:
    """Start the control planes of restored clusters on their own data, one after the other, and wait for each."""
    for (account, region, name), cluster in list(eks._clusters.all_items()):
        responses.set_request_account_id(account)
        responses.set_request_region(region)
        cluster["certificateAuthority"]["data"] = ""
        eks._restart_k3s(name)
        wait_until(partial(_has_ended_its_start, name, cluster), math.inf, every=0.1)


def _has_ended_its_start(name: str, cluster: Cluster) -> bool:
    return bool(cluster["certificateAuthority"]["data"]) or name not in eks._clusters


_DOCKER: Final = "clusters are k3s containers, made through docker-py"

PATCHES: Final[tuple[Patch, ...]] = (
    replace(eks, "_get_docker", planes, _DOCKER),
    replace(eks, "_k3s_gateway_host", lambda *_: "127.0.0.1", _DOCKER),
    replace(eks, "_next_port", lambda: planes().stack.kube, _DOCKER),
    wrap(eks, "_create_cluster", _create_cluster, "several clusters are possible; a local stack has ports for one"),
    wrap(eks, "_delete_cluster", _delete_cluster, "a cluster in use is deleted, and its control plane stays"),
    wrap(eks, "_sanitize", _with_failure, "a cluster whose start failed is ACTIVE"),
)
