"""What of the cluster can be switched off and on: Deployments, autoscalers, nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from airflow.utils.log.logging_mixin import LoggingMixin

from include.settings import API_NAME, NAMESPACE, settings
from retail_mlops.common.api_manifests import ANNOTATION, CANARY, Manifest
from retail_mlops.common.errors import RetailError
from retail_mlops.common.node_groups import NodeGroup, size_to_restore
from retail_mlops.common.polling import lines, wait_until
from retail_mlops.common.scale_record import Autoscaler, State, Workload

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

NODE_GROUP_LABEL: Final = "eks.amazonaws.com/nodegroup"
ENDED: Final = ("Succeeded", "Failed")
SERVER_FIELDS: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "ipFamilyPolicy")
"""Fields of a Service's spec that the API server fills in."""
STEP_POLLS: Final = 40
"""How many polls one step may take: 20 minutes at the default of 30 s."""


def step_timeout() -> float:
    """Return the seconds that one step of the schedule may take."""
    return STEP_POLLS * settings().poll_seconds


class Capacity(LoggingMixin):
    """The Deployments of the project's namespace, and the cluster's nodes. Waits end with a RetailError."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.cluster = cluster

    # --- what there is ---
    def state(self, groups: Iterable[NodeGroup], endpoints: Iterable[Manifest]) -> State:
        """Return the environment as it is now, in the form in which it is restored."""
        deployments = {item["metadata"]["name"]: item for item in self.deployments()}
        annotations = deployments.get(API_NAME, {}).get("metadata", {}).get("annotations", {})
        return State(
            node_groups=tuple(size_to_restore(group) for group in groups),
            workloads=tuple(
                Workload(name=name, replicas=item["spec"]["replicas"])
                for name, item in deployments.items()
                if name != CANARY  # it is deleted, and not restored
            ),
            autoscalers=tuple(
                Autoscaler(
                    name=scaler["metadata"]["name"],
                    minimum=scaler["spec"].get("minReplicas", 1),
                    maximum=scaler["spec"]["maxReplicas"],
                )
                for scaler in self._autoscalers()
            ),
            services=tuple(manifest_to_restore(endpoint) for endpoint in endpoints),
            open_nodes=tuple(
                node["metadata"]["name"] for node in self.nodes() if not node["spec"].get("unschedulable")
            ),
            release=annotations.get(f"{ANNOTATION}release") or None,
        )

    def deployments(self) -> list[Manifest]:
        return self.cluster.items(self.cluster.apps.list_namespaced_deployment(NAMESPACE))

    def nodes(self) -> list[Manifest]:
        return self.cluster.items(self.cluster.core.list_node())

    def pods_to_evict(self) -> list[Manifest]:
        """Return the pods that keep a node from being empty.

        None of a DaemonSet, none that has ended, and none that still waits for a node.
        """
        pods = [
            pod for pod in self.cluster.items(self.cluster.core.list_namespaced_pod(NAMESPACE)) if _is_on_a_node(pod)
        ]
        return [pod for pod in pods if pod.get("status", {}).get("phase") not in ENDED and not _is_of_daemon_set(pod)]

    def _autoscalers(self) -> list[Manifest]:
        return self.cluster.items(self.cluster.autoscaling.list_namespaced_horizontal_pod_autoscaler(NAMESPACE))

    # --- off ---
    def stop(self, workloads: Iterable[Workload]) -> None:
        """Scale Deployments to 0, at which an autoscaler is disabled; wait until no pod is left."""
        names = {workload.name for workload in workloads}
        for name in names:
            self._scale(name, 0)

        def remaining() -> list[str]:
            replicas = {
                item["metadata"]["name"]: item.get("status", {}).get("replicas", 0) for item in self.deployments()
            }
            return [f"{name}: {count} pods" for name, count in replicas.items() if name in names and count]

        self._wait(remaining, "these pods have not ended", "See `kubectl describe pod`")

    def drain(self) -> None:
        """Cordon all nodes and evict what still runs in the namespace, as PodDisruptionBudgets allow it.

        Pods of other namespaces are evicted by EKS when it removes the nodes.
        """
        for node in self.nodes():
            self._set_unschedulable(node["metadata"]["name"], True)

        def refusals() -> list[str]:
            pods = [(pod["metadata"]["name"], "deletionTimestamp" in pod["metadata"]) for pod in self.pods_to_evict()]
            return [
                f"{name}: {'terminating' if terminating else self.cluster.evict(name)}" for name, terminating in pods
            ]

        self._wait(
            refusals,
            "these pods stay on their nodes",
            "No node was stopped. Remove what holds them (a PodDisruptionBudget without slack?) and run this again",
        )

    # --- on ---
    def wait_for_nodes(self, groups: Iterable[NodeGroup], issues: Callable[[str], str]) -> None:
        """Wait until each group has its nodes Ready; issues: returns what EKS reports of a group."""

        def missing() -> list[str]:
            labels = [node["metadata"].get("labels", {}) for node in self.nodes() if _is_ready(node)]
            ready = [label.get(NODE_GROUP_LABEL) for label in labels]
            return [
                f"{group.name}: {ready.count(group.name)} of {group.desired} nodes are Ready ({issues(group.name)})"
                for group in groups
                if ready.count(group.name) < group.desired
            ]

        self._wait(missing, "not all nodes are Ready", "See the node group's health in EKS")

    def uncordon(self, names: Iterable[str]) -> None:
        """Let nodes accept pods again that a scale_down which failed half-way left cordoned."""
        cordoned = {node["metadata"]["name"] for node in self.nodes() if node["spec"].get("unschedulable")}
        for name in cordoned.intersection(names):
            self._set_unschedulable(name, False)

    def start(self, workloads: Iterable[Workload], autoscalers: Iterable[Autoscaler]) -> None:
        """Restore the bounds of autoscalers and the replicas of Deployments; RetailError when a Deployment is gone."""
        wanted = {workload.name: workload.replicas for workload in workloads}
        if gone := sorted(wanted.keys() - {item["metadata"]["name"] for item in self.deployments()}):
            raise RetailError(
                f"Deployment {', '.join(gone)} was there before scale_down and is gone: remove the record "
                "(docs/runbooks/scale.md) and run deploy"
            )
        for scaler in autoscalers:
            spec = {"spec": {"minReplicas": scaler.minimum, "maxReplicas": scaler.maximum}}
            self.cluster.autoscaling.patch_namespaced_horizontal_pod_autoscaler(scaler.name, NAMESPACE, spec)
        for name, replicas in wanted.items():
            self._scale(name, replicas)

    # --- both ---
    def _scale(self, name: str, replicas: int) -> None:
        scale = {"spec": {"replicas": replicas}}
        self.cluster.ignore((404,), self.cluster.apps.patch_namespaced_deployment_scale, name, NAMESPACE, scale)
        self.log.info("Deployment %s: %d replicas", name, replicas)

    def _set_unschedulable(self, node: str, value: bool) -> None:
        self.cluster.ignore((404,), self.cluster.core.patch_node, node, {"spec": {"unschedulable": value}})

    def _wait(self, observe: Callable[[], list[str]], problem: str, advice: str) -> None:
        timeout = step_timeout()
        wait_until(
            observe,
            lines,
            timeout=timeout,
            poll=settings().poll_seconds,
            timeout_error=lambda left: RetailError(f"after {timeout:.0f} s, {problem}:\n{lines(left)}\n{advice}"),
            log=self.log,
        )


def manifest_to_restore(endpoint: Mapping[str, Any]) -> Manifest:
    """Return the manifest that restores a live Service or Ingress (camelCase), without what the cluster filled in."""
    metadata, spec = endpoint["metadata"], endpoint["spec"]
    annotations = {key: text for key, text in metadata.get("annotations", {}).items() if not key.startswith("kubectl.")}
    if endpoint["kind"] == "Service":
        ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
        spec = {key: value for key, value in spec.items() if key not in SERVER_FIELDS} | {"ports": ports}
    return {
        "apiVersion": endpoint["apiVersion"],
        "kind": endpoint["kind"],
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": metadata.get("labels", {}),
            "annotations": annotations,
        },
        "spec": spec,
    }


def _is_on_a_node(pod: Manifest) -> bool:
    return bool(pod["spec"].get("nodeName"))


def _is_of_daemon_set(pod: Manifest) -> bool:
    return any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", []))


def _is_ready(node: Manifest) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
