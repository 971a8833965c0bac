"""Empty a node as `kubectl drain` does: cordon, evict within the PodDisruptionBudgets, wait until the pods ended."""

from typing import Any, Final

from local.aws.eks.api_client import ApiServer, ApiServerError
from local.stack.waiting import wait_until

TIMEOUT_SECONDS: Final = 20.0
"""EKS gives 15 minutes."""
POLL_SECONDS: Final = 0.5


class Blocked(Exception):
    """Pods stay on the node; the message names them, and the budgets that refused."""


def _is_of_daemon_set(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))


def _pods(api: ApiServer, node: str) -> list[dict[str, Any]]:
    ended = ("Succeeded", "Failed")
    pods = api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
    return [pod for pod in pods if pod["status"].get("phase") not in ended and not _is_of_daemon_set(pod)]


def _evict(api: ApiServer, pod: dict[str, Any]) -> str:
    """Request the eviction; return why it was refused, or an empty text."""
    metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    path = "/api/v1/namespaces/{namespace}/pods/{name}/eviction".format(**metadata)
    try:
        api.call("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    except ApiServerError as error:
        if error.status == 429:
            return f"{metadata['namespace']}/{metadata['name']}: {error}"
        if error.status != 404:
            raise
    return ""


def drain(api: ApiServer, node: str, seconds: float = TIMEOUT_SECONDS) -> None:
    """Drain a node. Raise Blocked when a budget still refuses, or a pod has not ended, after so many seconds."""
    try:
        api.call("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, "merge")
    except ApiServerError as error:
        if error.status == 404:
            return
        raise
    obstacle = ""

    def is_empty() -> bool:
        nonlocal obstacle
        obstacle = _evict_all(api, node)
        return not obstacle

    wait_until(is_empty, seconds, every=POLL_SECONDS, error=lambda: Blocked(obstacle))


def _evict_all(api: ApiServer, node: str) -> str:
    """Request the eviction of all pods; return why the node is not empty, or an empty text."""
    pods = _pods(api, node)
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    refusals = [refusal for pod in staying if (refusal := _evict(api, pod))]
    names = ", ".join(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods)
    return "; ".join(refusals) or (f"{names} have not ended" if pods else "")
