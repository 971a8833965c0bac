"""The nodes of one cluster in one process, which starts and stops them as asked.

`serve` is the main function of a process that is asked by lines on standard input: each line is the JSON of *all* nodes
that shall run here; others are stopped, so that a repetition changes nothing. The Node objects exist already (see
`node.register`); the agent makes them Ready:

    {"<node name>": {"slot": 0,     # 0 to 14, unique: decides the kubelet port and the pods' addresses (spec.py)
                     "capacity": {"cpu": "2", "memory": "8Gi", "pods": "17", "ephemeral-storage": "20Gi"},
                     ...}}          # and what the caller's runtime_of needs

The end of standard input (also the death of the parent) or SIGTERM ends the process and all processes of its pods.
Logs go to standard error.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NoReturn

from local.kube import processes
from local.kube.api import Api
from local.kube.node import Node
from local.kube.proxy import ENDPOINT_LAG, ServiceProxy
from local.kube.runtime import NodeRuntime
from local.kube.spec import ClusterSpec

log = logging.getLogger(__name__)

FOLDER_MARK = "LOCAL_PLANE_DIR"
"""Environment variable of each process of a pod: the cluster's folder. It finds those that left their session."""

NodeOptions = dict[str, Any]
RuntimeOf = Callable[[Api, str, NodeOptions], NodeRuntime]
"""From the API's client, a node's name and its options on standard input to its runtime."""


class Agent:
    """The nodes that run in this process, and the proxy that they share. Needs a running event loop.

    `async with Agent(...)` starts the proxy, and ends everything when the context is left.
    """

    def __init__(
        self,
        cluster: ClusterSpec,
        runtime_of: RuntimeOf,
        marks: Mapping[str, str] | None = None,
        endpoint_lag: float = ENDPOINT_LAG,
    ) -> None:
        self.cluster = cluster
        self.api = Api(cluster.folder)
        self._runtime_of = runtime_of
        self._marks = {**(marks or {}), FOLDER_MARK: str(cluster.folder)}
        self._proxy = ServiceProxy(self.api, endpoint_lag)
        self._nodes: dict[str, tuple[Node, asyncio.Task[None]]] = {}
        self._proxy_task: asyncio.Task[None] | None = None

    async def start(self) -> asyncio.Task[None]:
        """Remove what an earlier agent of this cluster left, and start the proxy; return the proxy's task."""
        self._end_strays()
        await self._remove_old_folders()
        self._proxy_task = asyncio.create_task(self._proxy.run())
        return self._proxy_task

    async def close(self) -> None:
        """Stop all nodes and the proxy, and close the connection to the API."""
        await self.apply({})
        if self._proxy_task:
            self._proxy_task.cancel()
            await asyncio.gather(self._proxy_task, return_exceptions=True)
        self._end_strays()
        await self.api.close()

    async def __aenter__(self) -> "Agent":
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        await self.close()

    async def apply(self, wanted: Mapping[str, NodeOptions]) -> None:
        """Stop the nodes that are not wanted or have failed; start those that do not run."""
        for name, (node, task) in list(self._nodes.items()):
            if task.done():
                log.error("node %s failed", name, exc_info=task.exception())
            elif name in wanted:
                continue
            del self._nodes[name]
            task.cancel()
            await asyncio.gather(task, node.close(), return_exceptions=True)
            log.info("node %s stopped", name)
        for name in wanted.keys() - self._nodes.keys():
            self._start_node(name, wanted[name])

    def _start_node(self, name: str, options: NodeOptions) -> None:
        spec = self.cluster.node(name, options["slot"], options["capacity"])
        runtime = self._runtime_of(self.api, name, options)
        node = Node(self.api, spec, self.cluster.folder, self._proxy, runtime, self._marks)
        self._nodes[name] = node, asyncio.create_task(node.run())
        log.info("node %s started", name)

    async def follow(self, lines: asyncio.StreamReader) -> None:
        """Apply each line, until the end of the stream."""
        while line := await lines.readline():
            await self.apply(json.loads(line))

    def power_off(self) -> None:
        """Kill all processes of all pods; the API is not informed."""
        for node, _task in self._nodes.values():
            node.power_off()
        self._end_strays()

    def _end_strays(self) -> None:
        """End processes of pods that no container of this agent owns: children with a session of their own."""
        processes.terminate(processes.marked(FOLDER_MARK, str(self.cluster.folder)), grace=0)

    async def _remove_old_folders(self) -> None:
        """Remove the folders of pods that were deleted while no agent ran."""
        uids = {pod["metadata"]["uid"] for pod in (await self.api.call("GET", "/api/v1/pods"))["items"]}
        for folder in self.cluster.folder.glob("pods/*"):
            if folder.name.rpartition("_")[2] not in uids:
                shutil.rmtree(folder)


async def _run(make_agent: Callable[[], Agent]) -> None:
    """Return at the end of standard input or at SIGTERM; raise the error of the proxy, or of a malformed line."""
    loop = asyncio.get_running_loop()
    agent = make_agent()
    proxy = await agent.start()
    lines = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = [proxy, asyncio.create_task(agent.follow(lines)), asyncio.create_task(stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        agent.power_off()


def serve(make_agent: Callable[[], Agent]) -> NoReturn:
    """Run an agent as this process (see the module's text), and exit: 0 after a stop, 1 after an error."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(_run(make_agent))
    except Exception:
        logging.exception("the agent ends after an error")
        os._exit(1)
    os._exit(0)
