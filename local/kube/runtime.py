"""The container runtime of a node: where images come from, and what happens to pods and logs besides running them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from local.kube.api import Object
from local.kube.errors import CannotStart
from local.kube.spec import RunSpec


@dataclass(frozen=True)
class ContainerLog:
    """The log of a container: where it belongs, and its files (that of the run before this one, if any, first)."""

    namespace: str
    pod: str
    pod_uid: str
    labels: Mapping[str, str]
    container: str
    image: str
    files: tuple[Path, ...]


class NodeRuntime(Protocol):
    """What a node asks of its environment. Implementations must not block the event loop."""

    @property
    def env(self) -> Mapping[str, str]:
        """Variables of each container; its image or manifest may override them."""

    async def pull(self, image: str) -> RunSpec:
        """Return how to run an image. CannotStart with the reason ErrImagePull when it is not available."""

    async def admit(self, namespace: str, spec: Object) -> None:
        """Change the node's copy of a pod's spec before its volumes are written; CannotStart makes the pod wait."""

    async def collect_logs(self, logs: Sequence[ContainerLog]) -> None:
        """Read what is new in logs: called once a second for all pods, and for a pod that has ended."""


@dataclass(frozen=True)
class StaticRuntime:
    """The simplest NodeRuntime: images are named in a mapping, pods stay as they are, logs are not collected."""

    images: Mapping[str, RunSpec]
    env: Mapping[str, str] = field(default_factory=dict)

    async def pull(self, image: str) -> RunSpec:
        """Return how to run an image of the mapping."""
        if image not in self.images:
            known = ", ".join(sorted(self.images))
            raise CannotStart("ErrImagePull", f'Failed to pull image "{image}": this node has only {known}')
        return self.images[image]

    async def admit(self, namespace: str, spec: Object) -> None:
        """Change nothing."""

    async def collect_logs(self, logs: Sequence[ContainerLog]) -> None:
        """Collect nothing."""
