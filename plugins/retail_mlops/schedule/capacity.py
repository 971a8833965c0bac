"""What of the cluster can be switched off and on: Deployments, autoscalers, the public endpoint, nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from airflow.utils.log.logging_mixin import LoggingMixin
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from include.settings import API_NAME, NAMESPACE
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.release.releases import ANNOTATION, CANARY, address, is_public
from retail_mlops.schedule.records import Autoscaler, NodeGroup, State, Workload, bare, identity, size_of

GROUP: Final = "eks.amazonaws.com/nodegroup"
"""Label of a node: the node group it is of."""
ENDED: Final = ("Succeeded", "Failed")
Object = dict[str, Any]
"""As the API server gives it, camelCase."""


class Capacity(LoggingMixin):
    """Of the project's namespace, and the cluster's nodes. Waits end with a RetailError after `timeout` seconds."""

    def __init__(self, cluster: Cluster, timeout: float, poll: float) -> None:
        super().__init__()
        self.cluster, self.timeout, self.poll = cluster, timeout, poll
        self.scalers, self.networks = client.AutoscalingV2Api(cluster.api), client.NetworkingV1Api(cluster.api)

    # --- what is there ---
    def state(self, groups: Iterable[NodeGroup]) -> State:
        deployments = self.deployments()
        api = next((one for one in deployments if one["metadata"]["name"] == API_NAME), None)
        return State(
            node_groups=tuple(size_of(group) for group in groups),
            workloads=tuple(
                Workload(name=one["metadata"]["name"], replicas=one["spec"]["replicas"])
                for one in deployments
                if one["metadata"]["name"] != CANARY  # it goes, and does not come back
            ),
            autoscalers=tuple(
                Autoscaler(
                    name=one["metadata"]["name"],
                    minimum=one["spec"].get("minReplicas", 1),
                    maximum=one["spec"]["maxReplicas"],
                )
                for one in self._autoscalers()
            ),
            services=tuple(bare(one) for one in self.endpoints()),
            open_nodes=tuple(
                node["metadata"]["name"] for node in self.nodes() if not node["spec"].get("unschedulable")
            ),
            release=(api or {}).get("metadata", {}).get("annotations", {}).get(f"{ANNOTATION}release") or None,
        )

    def deployments(self) -> list[Object]:
        return self._plain(self.cluster.apps.list_namespaced_deployment(NAMESPACE))

    def _autoscalers(self) -> list[Object]:
        return self._plain(self.scalers.list_namespaced_horizontal_pod_autoscaler(NAMESPACE))

    def endpoints(self) -> list[Object]:
        """Services of type LoadBalancer, and Ingresses; a list leaves out what kind its items are."""
        services = self._plain(self.cluster.core.list_namespaced_service(NAMESPACE))
        ingresses = self._plain(self.networks.list_namespaced_ingress(NAMESPACE))
        every = [
            *({"apiVersion": "v1", "kind": "Service"} | one for one in services),
            *({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"} | one for one in ingresses),
        ]
        return [one for one in every if is_public(one)]

    def nodes(self) -> list[Object]:
        return self._plain(self.cluster.core.list_node())

    def pods(self) -> list[Object]:
        """Pods that a node would have to be emptied of: none of a DaemonSet, none that ended or waits for a node."""
        pods = [one for one in self._plain(self.cluster.core.list_namespaced_pod(NAMESPACE)) if _is_on_a_node(one)]
        return [one for one in pods if one.get("status", {}).get("phase") not in ENDED and not _is_of_daemon_set(one)]

    def _plain(self, listed: Any) -> list[Object]:
        return self.cluster.api.sanitize_for_serialization(listed)["items"]

    # --- off ---
    def remove_endpoints(self, but: Iterable[Object] = ()) -> None:
        """Deletes the endpoints but these; each is gone when its load balancer is (the finalizer's work)."""
        kept = {identity(one) for one in but}

        def left() -> list[Object]:
            return [one for one in self.endpoints() if identity(one) not in kept]

        delete = {
            "Service": self.cluster.core.delete_namespaced_service,
            "Ingress": self.networks.delete_namespaced_ingress,
        }
        for one in left():
            kind, name = identity(one)
            self.log.info("removing the public endpoint, %s %s", kind, name)
            _unless_gone(delete[kind], name, NAMESPACE)
        self._until(
            lambda: [" ".join(identity(one)) for one in left()],
            "these are still there",
            "see `kubectl describe`: the load balancer of each has to go first. That of an Ingress is removed by its "
            "controller, which needs a node",
        )

    def stop(self, workloads: Iterable[Workload]) -> None:
        """0 replicas, at which an autoscaler is disabled; waits until no pod is left."""
        for one in workloads:
            self._scale(one.name, 0)
        self._until(self._left_of(workloads), "these pods do not end", "see `kubectl describe pod`")

    def _left_of(self, workloads: Iterable[Workload]) -> Callable[[], list[str]]:
        names = {one.name for one in workloads}

        def left() -> list[str]:
            return [
                f"{found['metadata']['name']}: {count} pods"
                for found in self.deployments()
                if found["metadata"]["name"] in names and (count := found.get("status", {}).get("replicas", 0))
            ]

        return left

    def drain(self) -> None:
        """Closes all nodes to new pods and evicts what still runs in the namespace, as budgets allow it.

        Pods of other namespaces are EKS's own to evict when it takes the nodes away.
        """
        for node in self.nodes():
            self._close(node["metadata"]["name"], True)

        def refusals() -> list[str]:
            pods = [(one["metadata"]["name"], "deletionTimestamp" in one["metadata"]) for one in self.pods()]
            return [f"{name}: {'it does not end' if ending else self._evict(name)}" for name, ending in pods]

        self._until(
            refusals,
            "these pods stay on their nodes",
            "no node was stopped. Remove what holds them (a PodDisruptionBudget without slack?) and run this again",
        )

    def _evict(self, pod: str) -> str:
        """Asks for the eviction; what the API server says."""
        about = client.V1ObjectMeta(name=pod, namespace=NAMESPACE)
        try:
            self.cluster.core.create_namespaced_pod_eviction(pod, NAMESPACE, client.V1Eviction(metadata=about))
        except ApiException as error:
            if error.status not in (404, 429):  # gone, or a budget
                raise
            return _message(error) if error.status == 429 else "gone"
        return "evicted"

    # --- on ---
    def wait_for_nodes(self, groups: Iterable[NodeGroup], trouble: Callable[[str], str]) -> None:
        """Until each group has its nodes Ready; trouble: what to say of a group that has not."""

        def missing() -> list[str]:
            ready = [node["metadata"].get("labels", {}).get(GROUP) for node in self.nodes() if _is_ready(node)]
            return [
                f"{group.name}: {ready.count(group.name)} of {group.desired} nodes are Ready ({trouble(group.name)})"
                for group in groups
                if ready.count(group.name) < group.desired
            ]

        self._until(missing, "not all nodes came", "see the node group's health in EKS")

    def open(self, names: Iterable[str]) -> None:
        """Lets nodes take pods again: those that a scale_down which failed half-way left closed."""
        there = {node["metadata"]["name"] for node in self.nodes() if node["spec"].get("unschedulable")}
        for name in there.intersection(names):
            self._close(name, False)

    def start(self, workloads: Iterable[Workload], autoscalers: Iterable[Autoscaler]) -> None:
        """Gives autoscalers their bounds and Deployments their replicas; RetailError when one is not there any more."""
        known = {one["metadata"]["name"] for one in self.deployments()}
        if gone := sorted({one.name for one in workloads} - known):
            raise RetailError(
                f"Deployment {', '.join(gone)} was there before scale_down and is gone: remove the record "
                "(docs/runbooks/scale.md) and run deploy"
            )
        for scaler in autoscalers:
            spec = {"spec": {"minReplicas": scaler.minimum, "maxReplicas": scaler.maximum}}
            self.scalers.patch_namespaced_horizontal_pod_autoscaler(scaler.name, NAMESPACE, spec)
        for one in workloads:
            self._scale(one.name, one.replicas)

    def wait_for_address(self, endpoints: Iterable[Object]) -> list[str]:
        """The addresses of the public endpoint once it has one for each Service and Ingress."""
        wanted = {identity(one) for one in endpoints}

        def addresses() -> dict[tuple[str, str], str]:
            found = {identity(one): address(one) for one in self.endpoints()}
            return {one: found.get(one, "") for one in wanted}

        def without() -> list[str]:
            return sorted(" ".join(one) for one, text in addresses().items() if not text)

        self._until(without, "no load balancer yet for these", "see `kubectl describe`")
        return list(addresses().values())

    # --- both ---
    def _scale(self, name: str, replicas: int) -> None:
        scale = {"spec": {"replicas": replicas}}
        _unless_gone(self.cluster.apps.patch_namespaced_deployment_scale, name, NAMESPACE, scale)
        self.log.info("Deployment %s: %d replicas", name, replicas)

    def _close(self, node: str, closed: bool) -> None:
        _unless_gone(self.cluster.core.patch_node, node, {"spec": {"unschedulable": closed}})

    def _until(self, left: Callable[[], list[str]], what: str, advice: str) -> None:
        until, said = time.monotonic() + self.timeout, ""
        while found := left():
            text = "\n".join(found)
            if time.monotonic() > until:
                raise RetailError(f"{what} after {self.timeout:.0f} s:\n{text}\n{advice}")
            if text != said:
                self.log.info("waiting: %s", said := text)
            time.sleep(self.poll)


def _is_on_a_node(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _is_of_daemon_set(pod: Object) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _message(error: ApiException) -> str:
    """The API server's own words, with the cause that an eviction's refusal names (which budget)."""
    try:
        status = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.reason)
    causes = [cause["message"] for cause in (status.get("details") or {}).get("causes") or []]
    return " ".join([status.get("message", str(error.reason)), *causes])


def _unless_gone(call: Callable[..., Any], *arguments: Any) -> None:
    try:
        call(*arguments)
    except ApiException as error:
        if error.status != 404:
            raise
