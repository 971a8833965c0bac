"""The public endpoint in the cluster: Services of type LoadBalancer, and Ingresses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from airflow.utils.log.logging_mixin import LoggingMixin

from include.settings import NAMESPACE, settings
from retail_mlops.common.api_manifests import Manifest, is_public, kind_and_name, public_address
from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import lines, wait_until

if TYPE_CHECKING:  # it imports the Kubernetes client, which takes half a second: only a login needs it
    from retail_mlops.hooks.eks_cluster import Cluster

POLLS: Final = 40
"""A load balancer may take so many polls to appear or to go: 20 minutes at the default of 30 s."""


class PublicEndpoint(LoggingMixin):
    """The endpoints in the project's namespace; timeout, poll: seconds, of a wait and between two looks."""

    def __init__(self, cluster: Cluster, timeout: float | None = None, poll: float | None = None) -> None:
        super().__init__()
        self._cluster = cluster
        self._poll = settings().poll_seconds if poll is None else poll
        self._timeout = POLLS * self._poll if timeout is None else timeout

    def live(self) -> list[Manifest]:
        """Return the live objects (camelCase)."""
        services = self._cluster.items(self._cluster.core.list_namespaced_service(NAMESPACE))
        ingresses = self._cluster.items(self._cluster.networking.list_namespaced_ingress(NAMESPACE))
        objects = [  # a list leaves out of what kind its items are
            *({"apiVersion": "v1", "kind": "Service"} | service for service in services),
            *({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"} | ingress for ingress in ingresses),
        ]
        return [item for item in objects if is_public(item)]

    def remove(self, except_for: Iterable[Manifest] = ()) -> None:
        """Delete the endpoints and wait until each is gone, which its finalizer allows after its load balancer."""
        kept = {kind_and_name(manifest) for manifest in except_for}

        def to_remove() -> list[tuple[str, str]]:
            return [identity for identity in map(kind_and_name, self.live()) if identity not in kept]

        for kind, name in to_remove():
            self.log.info("Removing the public endpoint, %s %s", kind, name)
            self._delete(kind, name)
        self._wait(
            lambda: [" ".join(identity) for identity in to_remove()],
            "these public endpoints are still there",
            "See `kubectl describe`: the load balancer of each has to go first. That of an Ingress is removed by its "
            "controller, which needs a node",
        )

    def wait_for_addresses(self, endpoints: Iterable[Manifest]) -> list[str]:
        """Return the addresses of these endpoints, once each has one."""
        expected = {kind_and_name(manifest) for manifest in endpoints}

        def addresses() -> dict[tuple[str, str], str]:
            live = {kind_and_name(item): public_address(item) for item in self.live()}
            return {identity: live.get(identity, "") for identity in expected}

        def without_address() -> list[str]:
            return sorted(" ".join(identity) for identity, address in addresses().items() if not address)

        self._wait(without_address, "these public endpoints have no load balancer yet", "See `kubectl describe`")
        return list(addresses().values())

    def _delete(self, kind: str, name: str) -> None:
        delete = {
            "Service": self._cluster.core.delete_namespaced_service,
            "Ingress": self._cluster.networking.delete_namespaced_ingress,
        }
        self._cluster.ignore((404,), delete[kind], name, NAMESPACE)

    def _wait(self, observe: Callable[[], list[str]], problem: str, advice: str) -> None:
        wait_until(
            observe,
            lines,
            timeout=self._timeout,
            poll=self._poll,
            timeout_error=lambda left: RetailError(f"after {self._timeout:.0f} s, {problem}:\n{lines(left)}\n{advice}"),
            log=self.log,
        )
