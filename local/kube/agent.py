"""The process nodes of one cluster: `python -m local.kube.agent PLANE_DIR [--endpoint-lag SECONDS]`.

PLANE_DIR is the control plane's folder: `server` (URL of the API), `pki/{ca.crt,node.crt,node.key}` (a certificate of
system:masters for clients and servers, for 127.0.0.1); pods live in `pods/`.

Standard input: each line is the JSON of *all* nodes that shall run here; others are stopped, so that any repetition
is harmless. The Node objects exist already (the node group makes them, with labels and capacity); the agent makes
them Ready:

    {"<node name>": {"slot": 0,                     # 0 to 14, unique: kubelet port local stack.kube + 6 + slot,
                                                    # pods at 10.<local stack.pod_octet(slot)>.x.y
                     "capacity": {"cpu": "2", "memory": "8Gi", "pods": "17", "ephemeral-storage": "20Gi"},
                     "credentials": "<secret>"}}    # of the node role, see below

The end of standard input (also the death of the parent) or SIGTERM ends the agent and all processes of its pods.

Credentials of the node role: GET $AWS_ENDPOINT_URL/_local/credentials with the header `Authorization: <secret>` answers
{"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} (RFC 3339) and is asked again before they expire.

Environment: LOCAL_STACK_DIR (the state folder, `config.MARK`), AWS_ENDPOINT_URL, AWS_REGION, CLUSTER_NAME, and what
`config.load` needs to find the same local stack (HOME or XDG_CACHE_HOME). Logs go to standard error.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from local.kube.api import Api
from local.kube.eks import EksNode, Surroundings
from local.kube.node import Place
from local.kube.proxy import ENDPOINT_LAG, ServiceProxy
from local.stack import config, processes

log = logging.getLogger(__name__)

PLANE_MARK = "LOCAL_PLANE_DIR"
"""Environment variable of each process of a pod, by which those that left their container's session are found."""
FIRST_KUBELET = 6
"""The ports of local stack.kube before this one are the control plane's own."""


class Agent:
    """The nodes that run here, and what they share."""

    def __init__(self, plane: Path, stack: config.LocalStack, endpoint_lag: float) -> None:
        self.plane, self.stack = plane, stack
        self.around = Surroundings(
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            region=os.environ["AWS_REGION"],
            cluster=os.environ["CLUSTER_NAME"],
            cache=stack.state / "aws" / "images",
        )
        self.marks = {config.MARK: str(stack.state), PLANE_MARK: str(plane)}
        self.api = Api(plane)
        self.proxy = ServiceProxy(self.api, endpoint_lag)
        self.nodes: dict[str, tuple[EksNode, asyncio.Task]] = {}

    def end_strays(self) -> None:
        """Ends processes of pods that no container of this agent owns: children with a session of their own."""
        processes.terminate(processes.marked(PLANE_MARK, str(self.plane)), grace=0)

    async def remove_old_folders(self) -> None:
        """Of pods that went while no agent was there."""
        known = {pod["metadata"]["uid"] for pod in (await self.api.call("GET", "/api/v1/pods"))["items"]}
        for folder in self.plane.glob("pods/*"):
            if folder.name.rpartition("_")[2] not in known:
                shutil.rmtree(folder)

    def _start(self, name: str, spec: dict[str, Any]) -> None:
        slot = spec["slot"]
        place = Place(
            name=name,
            octet=self.stack.pod_octet(slot),
            port=self.stack.kube + FIRST_KUBELET + slot,
            capacity=spec["capacity"],
        )
        node = EksNode(self.api, place, self.plane, self.proxy, self.around, spec["credentials"], self.marks)
        self.nodes[name] = node, asyncio.create_task(node.run())
        log.info("%s started", name)

    async def want(self, wanted: dict[str, dict[str, Any]]) -> None:
        """Stops the nodes that are no longer wanted or have failed; starts those that do not run."""
        for name, (node, task) in list(self.nodes.items()):
            if task.done():
                log.error("%s failed", name, exc_info=task.exception())
            elif name in wanted:
                continue
            del self.nodes[name]
            task.cancel()
            await asyncio.gather(task, node.close(), return_exceptions=True)
            log.info("%s stopped", name)
        for name in wanted.keys() - self.nodes.keys():
            self._start(name, wanted[name])

    async def follow(self, lines: asyncio.StreamReader) -> None:
        while line := await lines.readline():
            await self.want(json.loads(line))

    def power_off(self) -> None:
        for node, _task in self.nodes.values():
            node.power_off()
        self.end_strays()


async def run(plane: Path, endpoint_lag: float) -> None:
    """Returns at the end of standard input or at SIGTERM; raises what made the proxy fail."""
    agent, loop = Agent(plane, config.load(Path(os.environ[config.MARK])), endpoint_lag), asyncio.get_running_loop()
    agent.end_strays()
    await agent.remove_old_folders()
    lines = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    parts = [asyncio.create_task(part) for part in (agent.proxy.run(), agent.follow(lines), told.wait())]
    try:
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()
    finally:
        agent.power_off()


def main() -> None:
    parser = argparse.ArgumentParser(description="The process nodes of one cluster; nodes come on standard input.")
    parser.add_argument("plane", type=Path, help="the control plane's folder")
    parser.add_argument(
        "--endpoint-lag", type=float, default=ENDPOINT_LAG, help="seconds until Services follow their endpoints"
    )
    options = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(message)s")
    try:
        asyncio.run(run(options.plane.resolve(), options.endpoint_lag))
    except Exception:
        logging.exception("the agent ends")
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
