"""What a caller decides about a cluster, its nodes and its containers: plain data, given to the rest of the package."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

KUBERNETES_VERSION: Final = "v1.36.3"
"""The version of the control plane that `assets` builds, and the one that nodes report."""
CONTROL_PLANE_PORTS: Final = 6
"""The API server, etcd, etcd's peers, controller-manager, scheduler, metrics-server, in this order."""
MAX_NODES: Final = 15
"""The nodes of a cluster: each has a port and the second octet of its pods' addresses."""
DEFAULT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"


@dataclass(frozen=True)
class NodeSpec:
    """A node: its name, the second octet of its pods' addresses, the port of its kubelet endpoint, and its size."""

    name: str
    pod_octet: int
    kubelet_port: int
    capacity: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster: the folder of its data, its ports on 127.0.0.1, its addresses, and the settings of its control plane.

    first_port: the control plane uses CONTROL_PLANE_PORTS ports from this one, each node one of the MAX_NODES after
    them. service_octet: Services have addresses 10.<service_octet>.x.y, the pods of the node in slot n have
    10.<service_octet + 1 + n>.x.y; they listen at 127.x.y.z.
    issuer: of service account tokens. webhook: kubeconfig of a webhook that authenticates bearer tokens; webhook_cache:
    how long its answer is trusted. hpa_sync, hpa_settle: how often autoscalers look, and how long they wait before
    they scale down.
    """

    folder: Path
    first_port: int
    service_octet: int = 16
    issuer: str = DEFAULT_ISSUER
    webhook: Path | None = None
    webhook_cache: str = "10s"
    hpa_sync: str = "5s"
    hpa_settle: str = "60s"

    @property
    def url(self) -> str:
        """The URL of the API server."""
        return f"https://127.0.0.1:{self.first_port}"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the cluster's administrator."""
        return self.folder / "kubeconfig"

    @property
    def service_range(self) -> str:
        """The addresses of Services."""
        return f"10.{self.service_octet}.0.0/16"

    def node(self, name: str, slot: int, capacity: Mapping[str, str]) -> NodeSpec:
        """Return the node in a slot (0 to MAX_NODES - 1), which decides its port and addresses; else ValueError."""
        if not 0 <= slot < MAX_NODES:
            raise ValueError(f"a cluster has room for {MAX_NODES} nodes, not for one in slot {slot}")
        return NodeSpec(
            name=name,
            pod_octet=self.service_octet + 1 + slot,
            kubelet_port=self.first_port + CONTROL_PLANE_PORTS + slot,
            capacity=capacity,
        )


@dataclass(frozen=True)
class RunSpec:
    """How to run an image as a process.

    command, args: the image's Entrypoint and Cmd. env: the image's variables. root: the folder that stands for the
    image's `/`; workdir: its working directory, a path of this machine.
    """

    command: Sequence[str]
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    root: str = "/"
    workdir: str = "/"
