"""Which pods a node has to be emptied of."""

from types import SimpleNamespace

from kubernetes import client

from retail_mlops.schedule.capacity import Capacity


def pod(name, node="ip-10-0-101-7", phase="Running", owner="ReplicaSet"):
    spec = {"nodeName": node} if node else {}
    metadata = {"name": name, "ownerReferences": [{"kind": owner}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def names(*pods):
    api = client.ApiClient()  # it knows how to make an object of the API plain, and asks nobody
    core = SimpleNamespace(list_namespaced_pod=lambda _namespace: {"items": list(pods)})
    found = Capacity(SimpleNamespace(api=api, core=core), timeout=1, poll=1).pods()
    return [one["metadata"]["name"] for one in found]


def test_pod_that_runs_on_a_node_has_to_go():
    assert names(pod("a"), pod("b", phase="Pending")) == ["a", "b"]


def test_pod_without_a_node_of_a_daemon_set_or_at_its_end_holds_up_no_drain():
    waiting = pod("recreated", node=None, phase="Pending")
    assert names(waiting, pod("agent", owner="DaemonSet"), pod("done", phase="Succeeded")) == []
