"""Which pods keep a node from being empty, and what restores an endpoint."""

from types import SimpleNamespace

from retail_mlops.schedule.capacity import Capacity, manifest_to_restore


def pod(name, node="ip-10-0-101-7", phase="Running", owner="ReplicaSet"):
    spec = {"nodeName": node} if node else {}
    metadata = {"name": name, "ownerReferences": [{"kind": owner}]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def names(*pods):
    core = SimpleNamespace(list_namespaced_pod=lambda _namespace: {"items": list(pods)})
    evicted = Capacity(SimpleNamespace(core=core, items=lambda listed: listed["items"])).pods_to_evict()
    return [pod["metadata"]["name"] for pod in evicted]


def test_pod_that_runs_on_a_node_has_to_go():
    assert names(pod("a"), pod("b", phase="Pending")) == ["a", "b"]


def test_pod_without_a_node_of_a_daemon_set_or_at_its_end_holds_up_no_drain():
    waiting = pod("recreated", node=None, phase="Pending")
    assert names(waiting, pod("agent", owner="DaemonSet"), pod("done", phase="Succeeded")) == []


def test_service_is_recorded_without_what_the_cluster_added():
    live = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "uid": "1",
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb", "kubectl.kubernetes.io/x": "y"},
            "finalizers": ["service.kubernetes.io/load-balancer-cleanup"],
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.1.2.3",
            "clusterIPs": ["10.1.2.3"],
            "externalTrafficPolicy": "Cluster",
            "selector": {"app.kubernetes.io/name": "retail-api"},
            "ports": [{"name": "http", "port": 8088, "targetPort": "http", "nodePort": 30123}],
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": "localhost"}]}},
    }
    assert manifest_to_restore(live) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"},
        },
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Cluster",
            "selector": {"app.kubernetes.io/name": "retail-api"},
            "ports": [{"name": "http", "port": 8088, "targetPort": "http"}],
        },
    }


def test_ingress_is_recorded_as_it_was_asked_for():
    asked = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"alb.ingress.kubernetes.io/target-type": "ip"},
        },
        "spec": {"ingressClassName": "alb", "rules": [{"host": "a.example.com", "http": {"paths": []}}]},
    }
    added = {"uid": "1", "finalizers": ["ingress.k8s.aws/resources"], "generation": 1}
    live = asked | {"metadata": asked["metadata"] | added, "status": {"loadBalancer": {"ingress": [{}]}}}
    assert manifest_to_restore(live) == asked
