"""docker-compose.yaml, as a user runs it: up, the demo, every process killed, down. `make test-compose`, some minutes.

Each test goes on where the one before it stopped.
"""

import json
import os
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator

import pytest

from local.stack.config import CLUSTER_PORTS, any_free_port
from tests.docker.engine import ROOT, docker

STAYING = ("gateway", "postgres", "local", "api-server", "dag-processor", "triggerer", "scheduler")
PROJECT = f"retail-test-{uuid.uuid4().hex[:8]}"
pytestmark = [pytest.mark.compose, pytest.mark.timeout(1800)]


class LocalStack:
    def __init__(self) -> None:
        self.released = False
        ports = ("LOCAL_AIRFLOW_PORT", "LOCAL_AWS_PORT", "LOCAL_ENDPOINT_PORT")
        self.ports = {name: str(any_free_port()) for name in ports}
        kube = min(any_free_port(), 65535 - CLUSTER_PORTS)
        self.env = os.environ | self.ports | {"LOCAL_KUBE_PORT": str(kube), "COMPOSE_PROJECT_NAME": PROJECT}

    def compose(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", "compose", *words], cwd=ROOT, env=self.env, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def container(self, service: str) -> str:
        return self.compose("ps", "-q", service).stdout.strip()

    def inspect(self, service: str) -> dict:
        return json.loads(docker("inspect", self.container(service)).stdout)[0]

    def healthy(self, service: str) -> bool:
        state = self.inspect(service)["State"]
        return state["Running"] and state["Health"]["Status"] == "healthy"

    def until(self, what: Callable[[], bool], seconds: float, told: str) -> float:
        """How long it took."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < seconds, f"{told}: not within {seconds} s"
            time.sleep(0.5)
        return time.monotonic() - began

    def until_healthy(self, seconds: float = 240) -> float:
        return sum(self.until(lambda name=name: self.healthy(name), seconds, f"{name} is healthy") for name in STAYING)

    def answers(self, url: str) -> bool:
        try:
            return urllib.request.urlopen(url, timeout=5).status == 200
        except OSError:
            return False

    def serves(self) -> bool:
        """Whether what was published answers, from outside: Airflow, and the endpoint once there is a release."""
        airflow = f"http://127.0.0.1:{self.ports['LOCAL_AIRFLOW_PORT']}/api/v2/monitor/health"
        endpoint = f"http://127.0.0.1:{self.ports['LOCAL_ENDPOINT_PORT']}/ready"
        return self.answers(airflow) and (not self.released or self.answers(endpoint))

    def left(self) -> list[str]:
        kinds = {"container": ("ps", "--all"), "volume": ("volume", "ls"), "network": ("network", "ls")}
        label = f"label=com.docker.compose.project={PROJECT}"
        return [
            f"{kind} {name}"
            for kind, words in kinds.items()
            for name in docker(*words, "--quiet", "--filter", label).stdout.split()
        ]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    made = LocalStack()
    yield made
    made.compose("--profile", "demo", "down", "--volumes", "--remove-orphans", check=False)


def test_it_comes_up(stack: LocalStack) -> None:
    began = time.monotonic()
    stack.compose("build")  # `up` alone would take images of an earlier checkout
    print(f"images after {time.monotonic() - began:.0f} s")
    stack.compose("up", "--detach")
    stack.until_healthy()
    print(f"up after {time.monotonic() - began:.0f} s")
    for name in STAYING:
        host = stack.inspect(name)["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert host["Memory"], name
        user = docker("exec", stack.container(name), "id", "-u").stdout.strip()
        assert user != "0", name


def test_the_demo_is_green(stack: LocalStack) -> None:
    began = time.monotonic()
    told = stack.compose("run", "--rm", "demo").stdout
    print(told)
    print(f"demo after {time.monotonic() - began:.0f} s")
    stack.released = True
    assert stack.serves()


@pytest.mark.parametrize("service", STAYING)
def test_it_survives_kill_9_of(service: str, stack: LocalStack) -> None:
    sharing = [name for name in STAYING if name != "postgres"]
    affected = sharing if service == "gateway" else [service]  # its network is another one when it comes back
    before = {name: stack.inspect(name)["State"]["StartedAt"] for name in affected}
    docker("exec", stack.container(service), "sh", "-c", "kill -9 -1", check=False)

    began = time.monotonic()
    for name in affected:
        again = lambda name=name: stack.inspect(name)["State"]["StartedAt"] != before[name]  # noqa: E731
        stack.until(again, 90, f"{name} starts again")
    stack.until_healthy()
    stack.until(stack.serves, 120, "what is published answers")
    print(f"{service}: all is healthy and answers after {time.monotonic() - began:.0f} s")


def test_the_demo_is_green_again(stack: LocalStack) -> None:
    told = stack.compose("run", "--rm", "demo").stdout
    assert "0 new" in told
    assert "0 weeks built, 12 existed" in told


def test_down_leaves_nothing(stack: LocalStack) -> None:
    assert stack.left()
    stack.compose("--profile", "demo", "down", "--volumes")

    assert stack.left() == []
