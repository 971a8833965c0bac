"""A pod: its init containers, sidecars and containers from the start to the end, and its status in the API."""

import asyncio
import contextlib
import copy
import logging
import shutil
from collections.abc import Iterable
from typing import Any

from local.kube import environment, volumes
from local.kube.api import UNREACHABLE, Object, loopback, now
from local.kube.container import Container
from local.kube.context import NodeContext
from local.kube.errors import ApiError, CannotStart
from local.kube.runtime import ContainerLog

log = logging.getLogger(__name__)

MOUNT_RETRY_SECONDS = 2.0
STARTED_POLL_SECONDS = 0.1
STOP_POLL_SECONDS = 0.1
REPORT_RETRY_SECONDS = 1.0


class Pod:
    """A pod that is bound to a node. It is the PodContext of its containers.

    ip: the pod's address in the API; its processes listen at `address`. `spec` is the node's own copy: what the node
    adds to it (a role, say) is not in the API.
    """

    def __init__(self, node: NodeContext, obj: Object, ip: str) -> None:
        meta = obj["metadata"]
        self.node = node
        self.obj = obj
        self.spec: Object = copy.deepcopy(obj["spec"])
        self.namespace: str = meta["namespace"]
        self.name: str = meta["name"]
        self.uid: str = meta["uid"]
        self.ip = ip
        self.address = loopback(ip)
        self.start_time = obj["status"].get("startTime") or now()
        self.phase: str | None = None  # Succeeded or Failed once it has ended
        self.killed = False
        self.initialized = False
        self.folder = node.pods_folder / f"{self.namespace}_{self.name}_{self.uid}"
        self.volumes = self.folder / "volumes"
        self.sources = volumes.Sources(node.api, obj, self.address)
        self.stopping = asyncio.Event()
        self._unreported = asyncio.Event()
        self._conditions: dict[str, Object] = {}
        self._reported_status: Object = {}
        self.inits = [Container(self, spec, init=True) for spec in self.spec.get("initContainers", [])]
        self.containers = [Container(self, spec) for spec in self.spec["containers"]]
        self.sidecars = [container for container in self.inits if container.sidecar]

    @property
    def path(self) -> str:
        """The path of its object in the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"

    @property
    def all_containers(self) -> list[Container]:
        """Init containers and sidecars, then the others."""
        return self.inits + self.containers

    def logs(self) -> list[ContainerLog]:
        """Return the logs of its containers."""
        return [
            ContainerLog(
                namespace=self.namespace,
                pod=self.name,
                pod_uid=self.uid,
                labels=self.obj["metadata"].get("labels", {}),
                container=container.name,
                image=container.spec["image"],
                files=(container.log_file(previous=True), container.log_file()),
            )
            for container in self.all_containers
        ]

    # --- what its containers use (PodContext) -----------------------------------------------
    def changed(self) -> None:
        """Report the pod's status to the API soon."""
        self._unreported.set()

    def event(self, reason: str, message: str, warning: bool = False) -> None:
        """Post an Event about the pod."""
        about = {"apiVersion": "v1", "kind": "Pod", "namespace": self.namespace, "name": self.name, "uid": self.uid}
        self.node.tasks.spawn(self.node.events.post(about, reason, message, warning))

    def grace(self) -> float:
        """Return the seconds from the start of the preStop hooks to SIGKILL."""
        requested = self.obj["metadata"].get("deletionGracePeriodSeconds")
        return float(self.spec.get("terminationGracePeriodSeconds", 30) if requested is None else requested)

    def service_variables(self) -> dict[str, str]:
        """Return the variables that name the API server and the Services of the pod's namespace."""
        host, _, port = self.node.api.url.removeprefix("https://").partition(":")
        api_server = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        if not self.spec.get("enableServiceLinks", True):
            return api_server
        proxy = self.node.proxy
        return environment.service_links(proxy.services.values(), self.namespace, proxy.listen_port) | api_server

    async def pause(self, seconds: float) -> bool:
        """Wait, at most until the pod shall end; return whether it shall."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()

    # --- life -------------------------------------------------------------------------------
    def update(self, obj: Object) -> None:
        """Take the object's new state from the API."""
        self.obj = obj
        self.sources.pod = obj
        self.changed()
        if "deletionTimestamp" in obj["metadata"]:
            self.stopping.set()

    def vanish(self) -> None:
        """Kill all processes: the object is gone (deleted with force), or the node is."""
        self.killed = True
        self.stopping.set()
        for container in self.all_containers:
            container.kill()

    async def run(self) -> None:
        """Run the pod, from its binding to the node until its object may be removed from the API."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tasks = self.node.tasks
        reporter = tasks.spawn(self._report_changes())
        work = tasks.spawn(self._run_containers())
        stop = tasks.spawn(self.stopping.wait())
        self.update(self.obj)
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not self.stopping.is_set():
            await asyncio.gather(*(sidecar.stop(self.grace()) for sidecar in self.sidecars))
            self.phase = self._outcome()
            self.changed()
            await self.stopping.wait()
        if not self.phase and not self.killed:
            self.event("Killing", "Stopping containers")
        await self._stop_containers(work)
        reporter.cancel()
        self.phase = self.phase or self._outcome()
        if not self.killed:
            await self._finish()
        await self.node.runtime.collect_logs(self.logs())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _outcome(self) -> str:
        failed = not self.initialized or any(container.exit_code for container in self.containers)
        return "Failed" if failed else "Succeeded"

    async def _run_containers(self) -> None:
        """Run init containers one after the other, then the containers; return when all have ended."""
        await self._prepare()
        for container in self.inits:
            if container.sidecar:
                self.node.tasks.spawn(container.run())
                while not container.started and not await self.pause(STARTED_POLL_SECONDS):
                    pass
            else:
                await container.run()
                if container.exit_code or self.stopping.is_set():
                    return
                container.update(ready=True)
        self.initialized = True
        self.changed()
        await asyncio.gather(*(container.run() for container in self.containers))

    async def _prepare(self) -> None:
        """Let the runtime admit the pod and write its volumes; try again until that works or the pod shall end."""
        while not self.stopping.is_set():
            try:
                await self.node.runtime.admit(self.namespace, self.spec)
                await self.fill_volumes()
                return
            except (CannotStart, ApiError, *UNREACHABLE, OSError) as error:
                self.event("FailedMount", str(error), warning=True)
                await self.pause(MOUNT_RETRY_SECONDS)

    async def fill_volumes(self) -> None:
        """Write the pod's volumes, or renew their content."""
        await volumes.fill(self.volumes, self.spec.get("volumes", []), self.sources)

    async def _stop_containers(self, work: asyncio.Task[Any]) -> None:
        """Stop containers together, sidecars after them; again when one was just being started."""
        plain_inits = [container for container in self.inits if not container.sidecar]
        while True:
            for group in (plain_inits, self.containers, self.sidecars):
                await self._stop_together(group)
            if work.done() and not any(container.leader for container in self.all_containers):
                return
            await asyncio.wait({work}, timeout=STOP_POLL_SECONDS)

    async def _stop_together(self, containers: Iterable[Container]) -> None:
        grace = 0 if self.killed else self.grace()
        await asyncio.gather(*(container.stop(grace) for container in containers))

    async def _finish(self) -> None:
        """Report the end, and let the API remove the object."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        try:
            await self._report()
            await self.node.api.call("DELETE", self.path, body)
        except (ApiError, *UNREACHABLE) as error:
            if getattr(error, "status", 0) not in (404, 409):
                log.warning("cannot report the end of pod %s/%s: %s", self.namespace, self.name, error)

    # --- status in the API ------------------------------------------------------------------
    def status(self) -> Object:
        """Return the pod's status."""
        self._update_conditions()
        running = any(container.process or container.restarts for container in self.containers)
        status = {
            "phase": self.phase or ("Running" if running else "Pending"),
            "startTime": self.start_time,
            "hostIP": "127.0.0.1",
            "hostIPs": [{"ip": "127.0.0.1"}],
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": list(self._conditions.values()),
            "observedGeneration": self.obj["metadata"].get("generation"),
            "containerStatuses": [container.status() for container in self.containers],
        }
        if self.inits:
            status["initContainerStatuses"] = [container.status() for container in self.inits]
        return status

    def _update_conditions(self) -> None:
        ready = not self.phase and all(container.ready for container in self.containers + self.sidecars)
        current = {item["type"]: item["status"] for item in self.obj["status"].get("conditions", [])}
        gates = all(current.get(gate["conditionType"]) == "True" for gate in self.spec.get("readinessGates", []))
        unready = [container.name for container in self.containers if not container.ready]
        message = f"containers with unready status: {unready}" if unready else "readiness gates are not True"
        self._set_condition("PodReadyToStartContainers", True)
        self._set_condition("Initialized", self.initialized, "ContainersNotInitialized", "init containers are not done")
        self._set_condition("ContainersReady", ready, "ContainersNotReady", message)
        self._set_condition("Ready", ready and gates, "ContainersNotReady", message)

    def _set_condition(self, kind: str, value: bool, reason: str = "", message: str = "") -> None:
        """Set a condition; its time of transition changes only with its value."""
        old = self._conditions.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == str(value) else now()
        new: Object = {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": since}
        self._conditions[kind] = new if value else new | {"reason": reason, "message": message}

    async def _report(self) -> None:
        """Write the status to the API when it has changed."""
        status = self.status()
        if status != self._reported_status:
            body = {"metadata": {"uid": self.uid}, "status": status}
            await self.node.api.call("PATCH", f"{self.path}/status", body, "strategic-merge")
            self._reported_status = status

    async def _report_changes(self) -> None:
        while True:
            await self._unreported.wait()
            self._unreported.clear()
            try:
                await self._report()
            except (ApiError, *UNREACHABLE) as error:
                if getattr(error, "status", 0) == 404:  # it is gone: the watch will report that
                    continue
                log.warning("cannot report the status of pod %s/%s: %r", self.namespace, self.name, error)
                await asyncio.sleep(REPORT_RETRY_SECONDS)
                self._unreported.set()
