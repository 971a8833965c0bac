"""A pod: its init containers, sidecars and containers from the start to the end, and what the API is told of them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import shutil
from typing import TYPE_CHECKING

from local.kube import environment, volumes
from local.kube.api import UNREACHABLE, Object, loopback, now
from local.kube.container import Container
from local.kube.errors import ApiError, CannotStart

if TYPE_CHECKING:
    from local.kube.node import Node

log = logging.getLogger(__name__)

MOUNT_RETRY_SECONDS = 2.0


class Pod:
    """`spec` is the node's own copy: what the node adds to it (a role, say) is not in the API."""

    def __init__(self, node: Node, obj: Object) -> None:
        self.node, self.obj, self.spec, meta = node, obj, copy.deepcopy(obj["spec"]), obj["metadata"]
        self.namespace, self.name, self.uid = meta["namespace"], meta["name"], meta["uid"]
        self.ip = obj["status"].get("podIP") or node.free_address()
        self.address = loopback(self.ip)
        self.begun = obj["status"].get("startTime") or now()
        self.phase: str | None = None  # Succeeded or Failed once it is over
        self.killed = self.initialized = False
        self.folder = node.root / "pods" / f"{self.namespace}_{self.name}_{self.uid}"
        self.volumes = self.folder / "volumes"
        self.sources = volumes.Sources(node.api, obj, self.address)
        self.dirty, self.stopping = asyncio.Event(), asyncio.Event()
        self.conditions: dict[str, Object] = {}
        self.reported: Object = {}
        self.inits = [Container(self, spec, init=True) for spec in self.spec.get("initContainers", [])]
        self.containers = [Container(self, spec) for spec in self.spec["containers"]]
        self.sidecars = [container for container in self.inits if container.sidecar]

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def all(self) -> list[Container]:
        return self.inits + self.containers

    def grace(self) -> float:
        """Seconds from the start of the preStop hooks to SIGKILL."""
        given = self.obj["metadata"].get("deletionGracePeriodSeconds")
        return self.spec.get("terminationGracePeriodSeconds", 30) if given is None else given

    def event(self, reason: str, message: str, warning: bool = False) -> None:
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": self.namespace, "name": self.name, "uid": self.uid}
        self.node.spawn(self.node.events.post(about, reason, message, warning))

    def service_links(self) -> dict[str, str]:
        host, _, port = self.node.api.url.removeprefix("https://").partition(":")
        always = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        if not self.spec.get("enableServiceLinks", True):
            return always
        return environment.service_links(self.node.services.values(), self.namespace, self.node.listen_port) | always

    async def pause(self, seconds: float) -> bool:
        """Waits, but not longer than until the pod shall stop; says whether it shall."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()

    # --- life -------------------------------------------------------------------------------
    def update(self, obj: Object) -> None:
        self.obj = self.sources.pod = obj
        self.dirty.set()
        if "deletionTimestamp" in obj["metadata"]:
            self.stopping.set()

    def vanish(self) -> None:
        """The object is gone (deleted with force), or the node is: so are the processes."""
        self.killed = True
        self.stopping.set()
        for container in self.all:
            container.kill()

    async def run(self) -> None:
        """From the binding to the node until the object may go from the API."""
        self.folder.mkdir(parents=True, exist_ok=True)
        reporter = self.node.spawn(self._report_changes())
        work, stop = self.node.spawn(self._work()), self.node.spawn(self.stopping.wait())
        self.update(self.obj)
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not self.stopping.is_set():
            await asyncio.gather(*(sidecar.stop(self.grace()) for sidecar in self.sidecars))
            self.phase = self._outcome()
            self.dirty.set()
            await self.stopping.wait()
        if not self.phase and not self.killed:
            self.event("Killing", "Stopping containers")
        await self._stop_all(work)
        reporter.cancel()
        self.phase = self.phase or self._outcome()
        if not self.killed:
            await self._finish()
        await self.node.leaving(self)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _outcome(self) -> str:
        failed = not self.initialized or any(container.code for container in self.containers)
        return "Failed" if failed else "Succeeded"

    async def _work(self) -> None:
        while not self.stopping.is_set():
            try:
                await self.node.admit(self)
                await self.fill_volumes()
                break
            except (CannotStart, ApiError, *UNREACHABLE, OSError) as why:
                self.event("FailedMount", str(why), warning=True)
                await self.pause(MOUNT_RETRY_SECONDS)
        for container in self.inits:
            if container.sidecar:
                self.node.spawn(container.run())
                while not container.started and not await self.pause(0.1):
                    pass
            else:
                await container.run()
                if container.code or self.stopping.is_set():
                    return
                container.show(ready=True)
        self.initialized = True
        self.dirty.set()
        await asyncio.gather(*(container.run() for container in self.containers))

    async def _stop_all(self, work: asyncio.Task) -> None:
        """Containers end together, sidecars after them; more than once, where one was just being started."""
        groups = [[c for c in self.inits if not c.sidecar], self.containers, self.sidecars]
        while True:
            for group in groups:
                await asyncio.gather(*(container.stop(0 if self.killed else self.grace()) for container in group))
            if work.done() and not any(container.leader for container in self.all):
                return
            await asyncio.wait({work}, timeout=0.1)

    async def _finish(self) -> None:
        """Reports the end and lets the API remove the object."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        try:
            await self._report()
            await self.node.api.call("DELETE", self.path, body)
        except (ApiError, *UNREACHABLE) as error:
            if getattr(error, "status", 0) not in (404, 409):
                log.warning("end of %s: %s", self.name, error)

    async def fill_volumes(self) -> None:
        await volumes.fill(self.volumes, self.spec.get("volumes", []), self.sources)

    # --- what the API is told ---------------------------------------------------------------
    def status(self) -> Object:
        ready = not self.phase and all(container.ready for container in self.containers + self.sidecars)
        live = {item["type"]: item["status"] for item in self.obj["status"].get("conditions", [])}
        gates = all(live.get(gate["conditionType"]) == "True" for gate in self.spec.get("readinessGates", []))
        unready = [container.name for container in self.containers if not container.ready]
        self._condition("PodReadyToStartContainers", True)
        self._condition("Initialized", self.initialized, "ContainersNotInitialized", "init containers are not done")
        message = f"containers with unready status: {unready}" if unready else "readiness gates are not True"
        self._condition("ContainersReady", ready, "ContainersNotReady", message)
        self._condition("Ready", ready and gates, "ContainersNotReady", message)
        running = any(container.process or container.restarts for container in self.containers)
        status = {
            "phase": self.phase or ("Running" if running else "Pending"),
            "startTime": self.begun,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": list(self.conditions.values()),
            "observedGeneration": self.obj["metadata"].get("generation"),
            "containerStatuses": [container.status() for container in self.containers],
        }
        return status | ({"initContainerStatuses": [c.status() for c in self.inits]} if self.inits else {})

    def _condition(self, kind: str, value: bool, reason: str = "", message: str = "") -> None:
        old = self.conditions.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == str(value) else now()
        new: Object = {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since}
        self.conditions[kind] = new if value else new | {"reason": reason, "message": message}

    async def _report(self) -> None:
        status = self.status()
        if status != self.reported:
            body = {"metadata": {"uid": self.uid}, "status": status}
            await self.node.api.call("PATCH", f"{self.path}/status", body, "strategic-merge")
            self.reported = status

    async def _report_changes(self) -> None:
        while True:
            await self.dirty.wait()
            self.dirty.clear()
            try:
                await self._report()
            except (ApiError, *UNREACHABLE) as error:
                if getattr(error, "status", 0) == 404:  # it went: the watch will say so
                    continue
                log.warning("status of %s: %r", self.name, error)
                await asyncio.sleep(1)
                self.dirty.set()
