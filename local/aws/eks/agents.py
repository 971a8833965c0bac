"""The processes that run the nodes of clusters: one `python -m local.aws.eks.node_agent` per control plane."""

import json
import logging
import subprocess
import sys
from typing import Any, Final

from include.settings import REGION
from local.aws import home
from local.aws.eks.control_planes import Plane
from local.aws.iam import role_sessions as roles
from local.stack import config, processes

log = logging.getLogger(__name__)

NODE_SLOTS: Final = 15
"""Addresses and kubelet ports of a local stack."""
GRACE_SECONDS: Final = 15.0
"""For an agent to end its pods."""


class NoRoom(Exception):
    """All node slots of the local stack are used."""


class Agent:
    """The node agent of one cluster. Start its process in a thread that lives as long as this process."""

    def __init__(self, plane: Plane, stack: config.LocalStack) -> None:
        self.plane, self.stack = plane, stack
        self.slots: dict[str, int] = {}
        self.secrets: dict[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def _running_process(self) -> subprocess.Popen[str]:
        """Return its process; start it first when it does not run."""
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
                [sys.executable, "-m", "local.aws.eks.node_agent", str(self.plane.folder)],
                cwd=config.ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                text=True,
                preexec_fn=processes.die_with_parent,
            )
        return self.process

    def send(self, nodes: list[tuple[dict[str, Any], str]]) -> None:
        """Send the agent all nodes that shall run: (Node object, ARN of the node role).

        Raise NoRoom when there are too many, and OSError when the agent dies meanwhile.
        """
        self._release_slots({node["metadata"]["name"] for node, _role in nodes})
        wanted = {}
        for node, role in nodes:
            name = node["metadata"]["name"]
            if name not in self.slots:
                self._assign_slot(name, role)
            wanted[name] = {
                "slot": self.slots[name],
                "zone": node["metadata"]["labels"]["topology.kubernetes.io/zone"],
                "capacity": node["status"]["capacity"],
                "credentials": self.secrets[name],
            }
        if not wanted and not self.process:
            return
        stdin = self._running_process().stdin
        assert stdin is not None  # noqa: S101 - for the type checker: it is a pipe
        stdin.write(json.dumps(wanted) + "\n")
        stdin.flush()

    def _release_slots(self, names: set[str]) -> None:
        """Release the slots of all nodes but these."""
        for removed in self.slots.keys() - names:
            del self.slots[removed]
            roles.forget(self.secrets.pop(removed))

    def _assign_slot(self, name: str, role: str) -> None:
        free = set(range(NODE_SLOTS)) - set(self.slots.values())
        if not free:
            raise NoRoom(f"node {name} cannot start: a local stack has room for {NODE_SLOTS} nodes")
        self.slots[name] = min(free)
        self.secrets[name] = roles.register_holder(role, "ec2.amazonaws.com", name)

    def stop(self) -> None:
        """End the process, and with it its pods."""
        for secret in self.secrets.values():
            roles.forget(secret)
        if self.process:
            processes.terminate([self.process.pid], GRACE_SECONDS)
            self.process.wait()
