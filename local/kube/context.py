"""What is passed down: from a node to its pods (NodeContext), from a pod to its containers (PodContext)."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp

from local.kube.api import Api, Events, Object
from local.kube.proxy import ServiceProxy
from local.kube.runtime import NodeRuntime
from local.kube.spec import NodeSpec
from local.kube.tasks import TaskSet
from local.kube.volumes import Sources


@dataclass(frozen=True)
class NodeContext:
    """What a node gives to its pods.

    pods_folder: each pod has a folder in it. marks: variables of each process that nothing overrides. http: the client
    of probes. tasks: what runs until the node ends.
    """

    spec: NodeSpec
    pods_folder: Path
    marks: Mapping[str, str]
    api: Api
    events: Events
    proxy: ServiceProxy
    runtime: NodeRuntime
    http: aiohttp.ClientSession
    tasks: TaskSet


class PodContext(Protocol):
    """What a pod gives to its containers; local.kube.pod.Pod implements it.

    obj: the pod's object in the API, as last seen. spec: the node's own copy of its spec. address: where the pod
    listens. stopping: set when the pod shall end.
    """

    node: NodeContext
    obj: Object
    spec: Object
    name: str
    folder: Path
    volumes: Path
    address: str
    sources: Sources
    stopping: asyncio.Event

    def changed(self) -> None:
        """Report the pod's status to the API soon."""

    def event(self, reason: str, message: str, warning: bool = False) -> None:
        """Post an Event about the pod."""

    def grace(self) -> float:
        """Return the seconds from the start of the preStop hooks to SIGKILL."""

    def service_variables(self) -> dict[str, str]:
        """Return the variables that name the API server and the Services of the pod's namespace."""

    async def pause(self, seconds: float) -> bool:
        """Wait, at most until the pod shall end; return whether it shall."""
