"""A drain keeps to the budgets: what refuses it, and what it leaves alone."""

from typing import Any

import pytest

from local.aws.eks.api_client import ApiServerError
from local.aws.eks.drain import Blocked, drain


def pod(name: str, owner: str = "ReplicaSet", phase: str = "Running") -> dict[str, Any]:
    about = {"name": name, "namespace": "mlops", "ownerReferences": [{"kind": owner}]}
    return {"metadata": about, "status": {"phase": phase}}


class Cluster:
    """An API server whose evictions remove the pod, or are refused by a budget."""

    def __init__(self, pods: list[dict[str, Any]], budget: bool = False) -> None:
        self.pods, self.budget, self.calls = pods, budget, []  # type: ignore[var-annotated]

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        assert query == {"fieldSelector": "spec.nodeName=n1"}
        return list(self.pods)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, patch: str = "") -> dict[str, Any]:
        self.calls.append((method, path))
        if path.endswith("/eviction"):
            if self.budget:
                raise ApiServerError(429, "Cannot evict pod as it would violate the pod's disruption budget.")
            self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != path.split("/")[-2]]
        return {}


def test_pods_are_evicted_after_the_node_is_cordoned() -> None:
    cluster = Cluster([pod("a"), pod("b")])
    drain(cluster, "n1")  # type: ignore[arg-type]
    assert cluster.pods == []
    assert cluster.calls[0] == ("PATCH", "/api/v1/nodes/n1")


def test_daemon_pods_and_ended_ones_stay() -> None:
    cluster = Cluster([pod("daemon", owner="DaemonSet"), pod("job", phase="Succeeded")])
    drain(cluster, "n1")  # type: ignore[arg-type]
    assert len(cluster.calls) == 1


def test_a_budget_blocks_and_is_named() -> None:
    with pytest.raises(Blocked, match=r"mlops/a: 429 .*disruption budget"):
        drain(Cluster([pod("a")], budget=True), "n1", seconds=0)  # type: ignore[arg-type]
