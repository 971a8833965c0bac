"""A node: it makes its Node object Ready, keeps its lease, and runs the pods that are bound to it."""

import asyncio
import contextlib
import datetime
import itertools
import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from local.kube import kubelet
from local.kube.api import UNREACHABLE, Api, Events, Object, now
from local.kube.errors import ApiError, CannotStart
from local.kube.pod import Pod
from local.stack.code_images import Recipe

log = logging.getLogger(__name__)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
BEAT_SECONDS, STATUS_EVERY_BEATS = 10, 6
REFRESH_SECONDS = 10
"""How often volumes are filled again: configMaps change, tokens must be renewed. A kubelet does it every minute."""
VERSION = "v1.36.3"


@dataclass(frozen=True)
class Place:
    """What a node group decides about a node: name, second octet of its pods' addresses, kubelet port, size."""

    name: str
    octet: int
    port: int
    capacity: Mapping[str, str] = field(hash=False)


class Node(ABC):
    """env: variables of each container that its image or manifest may override; marks: those that nothing overrides.

    services: the Services of the cluster by uid, kept up to date by the proxy; root: the control plane's folder.
    """

    def __init__(
        self,
        api: Api,
        place: Place,
        root: Path,
        services: Mapping[str, Object],
        env: Mapping[str, str],
        marks: Mapping[str, str],
    ) -> None:
        self.api, self.place, self.root, self.services = api, place, root, services
        self.env, self.marks = dict(env), dict(marks)
        self.name, self.capacity = place.name, place.capacity
        self.events = Events(api, "kubelet", self.name)
        self.pods: dict[str, Pod] = {}
        self.tasks: set[asyncio.Task] = set()
        self.begun = now()
        numbers = (number % 65000 for number in itertools.count(int(time.time())))
        self.addresses = (f"10.{place.octet}.{number >> 8}.{number & 255}" for number in numbers)
        self.probes = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, ssl=False, limit=0))

    # --- what a subclass decides ------------------------------------------------------------
    @abstractmethod
    async def pull(self, reference: str) -> Recipe:
        """How to run an image. CannotStart with ErrImagePull if it cannot be had."""

    @abstractmethod
    async def admit(self, pod: Pod) -> None:
        """Before the volumes of a pod are written: may change pod.spec, or raise CannotStart."""

    @abstractmethod
    async def leaving(self, pod: Pod) -> None:
        """When the processes of a pod are over, before its folder is removed."""

    def listen_port(self, port: int) -> int:
        """Where a Service port of a cluster address really listens."""
        return port

    # --- life -------------------------------------------------------------------------------
    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task:
        """A task that ends with the node; the event loop alone would hold it only weakly."""
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s of %s", task.get_name(), self.name, exc_info=error)

    def free_address(self) -> str:
        taken = {pod.ip for pod in self.pods.values()}
        return next(address for address in self.addresses if address not in taken)

    async def run(self) -> None:
        await self._report()
        self.spawn(self._heartbeat())
        self.spawn(self._refresh())
        async with kubelet.serve(self):
            await self.api.follow("/api/v1/pods", self._changed, fieldSelector=f"spec.nodeName={self.name}")

    def _changed(self, deleted: bool, obj: Object) -> None:
        uid, over = obj["metadata"]["uid"], obj["status"].get("phase") in ("Succeeded", "Failed")
        pod = self.pods.get(uid)
        if pod and deleted:
            pod.vanish()
        elif pod:
            pod.update(obj)
        elif not deleted and (not over or "deletionTimestamp" in obj["metadata"]):
            self.pods[uid] = pod = Pod(self, obj)
            self.spawn(pod.run()).add_done_callback(lambda _: self.pods.pop(uid, None))

    def power_off(self) -> None:
        """The processes end; the API learns nothing."""
        for pod in self.pods.values():
            pod.vanish()

    async def close(self) -> None:
        """The node goes away: no process, task or connection is left."""
        self.power_off()
        gone = list(self.tasks)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        await self.probes.close()

    # --- what the API is told ---------------------------------------------------------------
    def status(self) -> Object:
        conditions = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
        return {
            "capacity": self.capacity,
            "allocatable": self.capacity,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.place.port}},
            "nodeInfo": {
                "kubeletVersion": VERSION,
                "operatingSystem": "linux",
                "architecture": "amd64",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": os.uname().release,
                "osImage": "processes",
                "containerRuntimeVersion": "process://1",
                "kubeProxyVersion": "",
            },
            "conditions": [
                {
                    "type": kind,
                    "status": value,
                    "reason": "ProcessNode",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": self.begun,
                }
                for kind, value in conditions.items()
            ],
        }

    async def _report(self) -> None:
        body = {"status": self.status()}
        await self.api.call("PATCH", f"/api/v1/nodes/{self.name}/status", body, "strategic-merge")

    async def _heartbeat(self) -> None:
        for beat in itertools.count():
            try:
                if beat % STATUS_EVERY_BEATS == 0:
                    await self._report()
                await self._renew_lease()
            except (ApiError, *UNREACHABLE) as error:
                log.warning("heartbeat of %s: %r", self.name, error)
            await asyncio.sleep(BEAT_SECONDS)

    async def _renew_lease(self) -> None:
        renewed = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": renewed}
        lease: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        try:
            await self.api.call("PATCH", f"{LEASES}/{self.name}", lease, "merge")
        except ApiError as error:
            if error.status != 404:
                raise
            await self.api.call("POST", LEASES, lease | {"metadata": {"name": self.name}})

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            for pod in list(self.pods.values()):
                if not pod.stopping.is_set():
                    with contextlib.suppress(CannotStart, ApiError, *UNREACHABLE, OSError):
                        await pod.fill_volumes()
