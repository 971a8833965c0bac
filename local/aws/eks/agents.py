"""The processes that run the nodes of the clusters: one `python -m local.kube.agent` a control plane."""

import json
import logging
import subprocess
import sys
from typing import Any

from include.settings import REGION
from local.aws import home
from local.aws.eks.control_planes import Plane
from local.aws.iam import role_sessions as roles
from local.stack import config, processes

log = logging.getLogger(__name__)

NODES = 15  # slots of a local stack: addresses and kubelet ports
GRACE = 15.0  # seconds that an agent has to end its pods


class NoRoom(Exception):
    """All slots of the local stack are taken."""


class Agent:
    """The agent of one cluster. Its process must be started by a thread that lives as long as this process."""

    def __init__(self, plane: Plane, stack: config.LocalStack) -> None:
        self.plane, self.stack = plane, stack
        self.slots: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def _alive(self) -> subprocess.Popen[str]:
        """Its process, started (again) if it is not there."""
        if self.process and self.process.poll() is None:
            return self.process
        if self.process:
            log.warning("the node agent of %s died (%s): starting it again", self.plane.id, self.process.returncode)
        environment = home.child_environment(self.stack) | {
            "AWS_ENDPOINT_URL": self.stack.aws_url,
            "AWS_REGION": REGION,
            "CLUSTER_NAME": self.plane.id,
        }
        output = self.plane.folder / "log" / "node-agent.log"
        output.parent.mkdir(exist_ok=True)
        with output.open("a") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "local.kube.agent", str(self.plane.folder)],
                cwd=config.ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                text=True,
                preexec_fn=processes.die_with_parent,
            )
        return self.process

    def tell(self, nodes: list[tuple[dict[str, Any], str]]) -> None:
        """All nodes that shall run: (Node object, ARN of the node role). OSError when the agent dies just now."""
        names = {node["metadata"]["name"] for node, _role in nodes}
        for gone in self.slots.keys() - names:
            del self.slots[gone]
            roles.forget(self.secrets.pop(gone))
        wanted = {}
        for node, role in nodes:
            name = node["metadata"]["name"]
            if name not in self.slots:
                free = set(range(NODES)) - set(self.slots.values())
                if not free:
                    raise NoRoom(f"a local stack has room for {NODES} nodes, and {name} is one more")
                self.slots[name], self.secrets[name] = min(free), roles.holder(role, "ec2.amazonaws.com", name)
            wanted[name] = {
                "slot": self.slots[name],
                "zone": node["metadata"]["labels"]["topology.kubernetes.io/zone"],
                "capacity": node["status"]["capacity"],
                "credentials": self.secrets[name],
            }
        if not wanted and not self.process:
            return
        stdin = self._alive().stdin
        assert stdin is not None  # noqa: S101 - for the type checker: it was asked for above
        stdin.write(json.dumps(wanted) + "\n")
        stdin.flush()

    def stop(self) -> None:
        for secret in self.secrets.values():
            roles.forget(secret)
        if self.process:
            processes.terminate([self.process.pid], GRACE)
            self.process.wait()
