"""Empties a node as `kubectl drain` does: cordon, evict within the PodDisruptionBudgets, wait for the pods to end."""

import time
from typing import Any

from local.aws.eks.api_client import ApiServer, ApiServerError

SECONDS = 20.0  # EKS gives 15 minutes
ASK_AGAIN = 0.5


class Blocked(Exception):
    """Pods stay on the node: names them and why."""


def _is_of_daemon_set(pod: dict[str, Any]) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))


def _pods(api: ApiServer, node: str) -> list[dict[str, Any]]:
    there = api.items("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
    ended = ("Succeeded", "Failed")
    return [pod for pod in there if pod["status"].get("phase") not in ended and not _is_of_daemon_set(pod)]


def _evict(api: ApiServer, pod: dict[str, Any]) -> str:
    """Asks for the eviction; why it was refused, or nothing."""
    about = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
    path = "/api/v1/namespaces/{namespace}/pods/{name}/eviction".format(**about)
    try:
        api.call("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about})
    except ApiServerError as error:
        if error.status == 429:
            return f"{about['namespace']}/{about['name']}: {error}"
        if error.status != 404:
            raise
    return ""


def drain(api: ApiServer, node: str, seconds: float = SECONDS) -> None:
    """Blocked when a budget still refuses, or a pod has not ended, after so many seconds."""
    try:
        api.call("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, "merge")
    except ApiServerError as error:
        if error.status == 404:
            return
        raise
    until = time.monotonic() + seconds
    while pods := _pods(api, node):
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        refused = [why for pod in staying if (why := _evict(api, pod))]
        if time.monotonic() > until:
            names = ", ".join(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in pods)
            raise Blocked("; ".join(refused) or f"{names} do not end")
        time.sleep(ASK_AGAIN)
