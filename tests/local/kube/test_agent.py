"""The agent as a process: what it does with its standard input, and what is left when it ends."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from local.kube import processes
from local.kube.agent import FOLDER_MARK
from tests.local.kube.cluster import CAPACITY, eventually

pytestmark = pytest.mark.integration

NAME, SLOT = "agent-node", 1
PROGRAM = """
import sys
from pathlib import Path
from local.kube.agent import Agent, serve
from local.kube.spec import ClusterSpec
from tests.local.kube.cluster import app_runtime

folder, first_port, service_octet = sys.argv[1:]
cluster = ClusterSpec(Path(folder), int(first_port), int(service_octet))
serve(lambda: Agent(cluster, lambda api, name, options: app_runtime()))
"""
ROOT = Path(__file__).parents[3]
LEAVES_A_CHILD = "setsid sleep 300 & exec sleep 300"


class AgentProcess:
    """The agent with the test application as its only image."""

    def __init__(self, cluster):
        arguments = [cluster.spec.folder, cluster.spec.first_port, cluster.spec.service_octet]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, arguments)], cwd=ROOT, stdin=subprocess.PIPE, text=True
        )

    def want(self, *names):
        options = {"slot": SLOT, "capacity": CAPACITY}
        self.process.stdin.write(json.dumps(dict.fromkeys(names, options)) + "\n")
        self.process.stdin.flush()


@pytest.fixture
def start(cluster):
    cluster.add_node(NAME)
    started = []

    def start():
        started.append(AgentProcess(cluster))
        return started[-1]

    yield start
    for agent in started:
        agent.process.stdin.close()
        agent.process.wait(20)
    cluster.core.delete_node(NAME)


def listens(cluster):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", cluster.spec.node(NAME, SLOT, CAPACITY).kubelet_port)) == 0


def test_nodes_come_and_go_as_standard_input_says_and_end_with_it(cluster, start):
    agent = start()
    agent.want(NAME)
    eventually(lambda: listens(cluster), what="the kubelet endpoint")
    eventually(lambda: cluster.is_ready(NAME), what="a Ready node")
    agent.want()
    eventually(lambda: not listens(cluster), what="the end of the kubelet endpoint")
    agent.want(NAME)
    eventually(lambda: listens(cluster), what="the kubelet endpoint again")
    agent.process.stdin.close()
    assert agent.process.wait(10) == 0


def test_no_process_of_a_pod_survives_a_killed_agent_and_its_successor(cluster, start):
    def running():
        return processes.marked(FOLDER_MARK, str(cluster.spec.folder))

    def restarts():
        status = namespace.container("app")
        return status.restart_count if status and status.state.running else None

    namespace, agent = cluster.namespace(), start()
    agent.want(NAME)
    container = {"command": ["sh", "-c", LEAVES_A_CHILD], "readinessProbe": None}
    namespace.pod("app", container, nodeName=NAME)
    eventually(lambda: restarts() == 0, what="a running pod")
    first = set(eventually(lambda: len(running()) == 2 and running(), what="the pod's two processes"))

    agent.process.send_signal(signal.SIGKILL)
    agent.process.wait(5)
    stray = eventually(lambda: len(running()) == 1 and running(), what="the end of the main process")
    assert set(stray) < first

    agent = start()
    agent.want(NAME)
    eventually(lambda: restarts() == 1, what="the pod's restart")
    assert first.isdisjoint(running())

    agent.process.stdin.close()
    assert agent.process.wait(10) == 0
    assert running() == []
    namespace.core.delete_namespaced_pod("app", namespace.name, grace_period_seconds=0)
    namespace.core.delete_namespace(namespace.name)
