"""The agent as a process: what it does with its standard input, and what is left when it ends."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from local.kube.agent import FIRST_KUBELET, PLANE_MARK
from local.stack import config, processes
from tests.local.kube.cluster import CAPACITY, eventually

pytestmark = pytest.mark.integration

NAME, SLOT = "agent-node", 1
PROGRAM = """
from local.kube import agent, eks
from tests.local.kube.cluster import app_recipe

async def pull(self, reference):
    return app_recipe(reference)

eks.EksNode.pull = pull
agent.main()
"""
LEAVES_A_CHILD = "setsid sleep 300 & exec sleep 300"


class AgentProcess:
    """The agent with the test application as its only image, and no AWS."""

    def __init__(self, cluster):
        environment = os.environ | {
            config.MARK: str(cluster.stack.state),
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_REGION": "ap-southeast-1",
            "CLUSTER_NAME": "test",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(cluster.plane)],
            cwd=config.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            text=True,
        )

    def want(self, *names):
        spec = {"slot": SLOT, "capacity": CAPACITY, "credentials": "none"}
        self.process.stdin.write(json.dumps(dict.fromkeys(names, spec)) + "\n")
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
        return probe.connect_ex(("127.0.0.1", cluster.stack.kube + FIRST_KUBELET + SLOT)) == 0


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
        return processes.marked(PLANE_MARK, str(cluster.plane))

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
