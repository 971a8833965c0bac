"""A node: it makes its Node object Ready, renews its lease, and runs the pods that are bound to it."""

import asyncio
import contextlib
import datetime
import itertools
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

from local.kube import kubelet_api
from local.kube.api import UNREACHABLE, Api, Events, Object, now
from local.kube.context import NodeContext
from local.kube.errors import ApiError, CannotStart
from local.kube.pod import Pod
from local.kube.proxy import ServiceProxy
from local.kube.runtime import ContainerLog, NodeRuntime
from local.kube.spec import KUBERNETES_VERSION, NodeSpec
from local.kube.tasks import TaskSet

log = logging.getLogger(__name__)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
HEARTBEAT_SECONDS = 10
HEARTBEATS_PER_STATUS = 6
VOLUME_REFRESH_SECONDS = 10
"""How often volumes are written again: configMaps change, tokens must be renewed. A kubelet does it every minute."""
LOG_SECONDS = 1.0
"""How often the runtime collects logs."""
ADDRESSES_PER_NODE = 65000


class Node:
    """A node of a cluster.

    folder: the cluster's; pods have folders below its `pods/`. proxy: of the cluster's Services. runtime: where images
    come from. marks: variables of each process of a pod that nothing overrides.
    """

    def __init__(
        self,
        api: Api,
        spec: NodeSpec,
        folder: Path,
        proxy: ServiceProxy,
        runtime: NodeRuntime,
        marks: Mapping[str, str],
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.pods: dict[str, Pod] = {}
        self._api = api
        self._runtime = runtime
        self._tasks = TaskSet(spec.name)
        self._ready_since = now()
        numbers = (number % ADDRESSES_PER_NODE for number in itertools.count(int(time.time())))
        self._addresses = (f"10.{spec.pod_octet}.{number >> 8}.{number & 255}" for number in numbers)
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, ssl=False, limit=0))
        self._context = NodeContext(
            spec=spec,
            pods_folder=folder / "pods",
            marks=marks,
            api=api,
            events=Events(api, "kubelet", spec.name),
            proxy=proxy,
            runtime=runtime,
            http=self._http,
            tasks=self._tasks,
        )

    # --- life -------------------------------------------------------------------------------
    async def run(self) -> None:
        """Make the node Ready, and run its pods until this is cancelled."""
        self._tasks.spawn(self._collect_logs())
        await self._report()
        self._tasks.spawn(self._heartbeat())
        self._tasks.spawn(self._refresh_volumes())
        async with kubelet_api.serve(self.pods, self.spec.kubelet_port, self._api.tls_server):
            await self._api.follow("/api/v1/pods", self._changed, fieldSelector=f"spec.nodeName={self.name}")

    def _changed(self, deleted: bool, obj: Object) -> None:
        """Start, update or end a pod after a change of its object."""
        uid = obj["metadata"]["uid"]
        ended = obj["status"].get("phase") in ("Succeeded", "Failed")
        pod = self.pods.get(uid)
        if pod and deleted:
            pod.vanish()
        elif pod:
            pod.update(obj)
        elif not deleted and (not ended or "deletionTimestamp" in obj["metadata"]):
            pod = Pod(self._context, obj, obj["status"].get("podIP") or self._free_address())
            self.pods[uid] = pod
            self._tasks.spawn(pod.run()).add_done_callback(lambda _: self.pods.pop(uid, None))

    def _free_address(self) -> str:
        used = {pod.ip for pod in self.pods.values()}
        return next(address for address in self._addresses if address not in used)

    def power_off(self) -> None:
        """Kill all processes of its pods; the API is not informed."""
        for pod in self.pods.values():
            pod.vanish()

    async def close(self) -> None:
        """End the node: no process, task or connection is left."""
        self.power_off()
        await self._tasks.cancel()
        await self._http.close()

    async def _collect_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_SECONDS)
            logs: list[ContainerLog] = []
            for pod in list(self.pods.values()):
                logs += pod.logs()
            await self._runtime.collect_logs(logs)

    async def _refresh_volumes(self) -> None:
        while True:
            await asyncio.sleep(VOLUME_REFRESH_SECONDS)
            for pod in list(self.pods.values()):
                if not pod.stopping.is_set():
                    with contextlib.suppress(CannotStart, ApiError, *UNREACHABLE, OSError):
                        await pod.fill_volumes()

    # --- status and lease in the API --------------------------------------------------------
    def status(self) -> Object:
        """Return the node's status."""
        return {
            "capacity": self.spec.capacity,
            "allocatable": self.spec.capacity,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.spec.kubelet_port}},
            "nodeInfo": {
                "kubeletVersion": KUBERNETES_VERSION,
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
            "conditions": self._conditions(),
        }

    def _conditions(self) -> list[Object]:
        conditions = {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
        return [
            {
                "type": kind,
                "status": value,
                "reason": "ProcessNode",
                "lastHeartbeatTime": now(),
                "lastTransitionTime": self._ready_since,
            }
            for kind, value in conditions.items()
        ]

    async def _report(self) -> None:
        body = {"status": self.status()}
        await self._api.call("PATCH", f"/api/v1/nodes/{self.name}/status", body, "strategic-merge")

    async def _heartbeat(self) -> None:
        for number in itertools.count():
            try:
                if number % HEARTBEATS_PER_STATUS == 0:
                    await self._report()
                await self._renew_lease()
            except (ApiError, *UNREACHABLE) as error:
                log.warning("no heartbeat of node %s: %r", self.name, error)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _renew_lease(self) -> None:
        renewed = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": renewed}
        lease: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}
        try:
            await self._api.call("PATCH", f"{LEASES}/{self.name}", lease, "merge")
        except ApiError as error:
            if error.status != 404:
                raise
            await self._api.call("POST", LEASES, lease | {"metadata": {"name": self.name}})


async def register(api: Api, name: str, capacity: Mapping[str, str]) -> None:
    """Make the Node object of a node that no node group manages."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    await api.call("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
    status = {"status": {"capacity": capacity, "allocatable": capacity}}
    await api.call("PATCH", f"/api/v1/nodes/{name}/status", status, "strategic-merge")
