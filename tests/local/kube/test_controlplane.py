"""A control plane's life: starts, restarts on its data, deaths of its processes and of its parent, its end."""

import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.kube.controlplane import COMPONENTS, ControlPlane, ControlPlaneError
from local.stack import config, kube_cluster, processes
from tests.waiting import until

pytestmark = pytest.mark.integration

PARENT = """
import sys, time
from pathlib import Path
from local.stack import config, kube_cluster
from local.kube.controlplane import ControlPlane
stack = config.load(Path(sys.argv[1]))
spec = kube_cluster.spec(stack, stack.state / "kube" / "life")
ControlPlane(spec, kube_cluster.ensure_binaries()).start()
print("started", flush=True)
time.sleep(300)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[config.LocalStack]:
    made = config.load(tmp_path_factory.mktemp("life"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(config.MARK, str(made.state))
        yield made
    config.forget(made)


@pytest.fixture(scope="module")
def plane(stack: config.LocalStack) -> Iterator[ControlPlane]:
    spec = kube_cluster.spec(stack, stack.state / "kube" / "life")
    made = ControlPlane(spec, kube_cluster.ensure_binaries())
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def running(plane: ControlPlane) -> ControlPlane:
    if not plane.is_alive():
        plane.start()
    return plane


def pids(plane: ControlPlane) -> dict[str, int]:
    return {name: process.pid for name in COMPONENTS if (process := plane._process(name))}


def assert_no_port_is_taken(stack: config.LocalStack) -> None:
    assert [port for port in range(stack.kube, stack.kube + 6) if not config.free(port)] == []


def test_a_started_plane_answers_with_its_metrics_api_registered(running: ControlPlane) -> None:
    assert running.kubectl("get", "--raw", "/readyz") == "ok"
    assert "metrics.k8s.io/v1beta1" in running.kubectl("api-versions")
    assert (running.folder / "server").read_text().strip() == running.url


def test_services_get_addresses_of_the_stacks_range(running: ControlPlane, stack: config.LocalStack) -> None:
    address = running.kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert address == f"10.{stack.service_octet}.0.1"


def test_everything_listens_on_loopback_only(running: ControlPlane, stack: config.LocalStack) -> None:
    sockets = [
        connection.laddr
        for pid in pids(running).values()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {socket.ip for socket in sockets} == {"127.0.0.1"}
    assert {socket.port for socket in sockets} == set(range(stack.kube, stack.kube + 6))


def test_every_process_carries_the_mark(running: ControlPlane, stack: config.LocalStack) -> None:
    assert set(pids(running).values()) <= set(processes.members(str(stack.state)))
    assert len(pids(running)) == len(COMPONENTS)


def test_secrets_are_for_their_owner_only(running: ControlPlane) -> None:
    secret = [*running.folder.glob("pki/*.key"), *running.folder.glob("*kubeconfig")]
    assert len(secret) > 10
    assert [path.name for path in secret if path.stat().st_mode & 0o077] == []


def test_strangers_are_refused(running: ControlPlane) -> None:
    request = urllib.request.Request(f"{running.url}/api", headers={"Authorization": "Bearer nobody"})
    tls = ssl.create_default_context(cafile=running.folder / "pki" / "ca.crt")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, context=tls, timeout=10)


def test_a_refusal_of_kubectl_carries_its_message(running: ControlPlane) -> None:
    with pytest.raises(ControlPlaneError, match='configmaps "none" not found'):
        running.kubectl("get", "configmap", "none")


def test_a_start_after_a_process_died_keeps_the_contents(running: ControlPlane) -> None:
    running.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    before = pids(running)
    os.kill(before["kube-scheduler"], signal.SIGKILL)
    until(running.dead_components)
    assert running.dead_components() == ["kube-scheduler"]
    assert not running.is_alive()
    running.start()
    assert running.is_alive()
    assert running.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "1"
    assert set(before.values()).isdisjoint(pids(running).values())


def test_a_stop_leaves_no_process_and_no_port(running: ControlPlane, stack: config.LocalStack) -> None:
    before = pids(running).values()
    running.stop()
    assert [pid for pid in before if processes.is_alive(pid)] == []
    assert processes.members(str(stack.state)) == []
    assert_no_port_is_taken(stack)
    assert set(running.dead_components()) == set(COMPONENTS)


def test_a_start_after_the_parent_was_killed_goes_on(plane: ControlPlane, stack: config.LocalStack) -> None:
    plane.stop()
    command = [sys.executable, "-c", PARENT, str(stack.state)]
    with subprocess.Popen(command, cwd=config.ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "started\n"
        plane.kubectl("create", "configmap", "orphan")
        parent.kill()
    plane.start()
    assert plane.kubectl("get", "configmap", "orphan", "-o", "name") == "configmap/orphan\n"
    assert len(processes.members(str(stack.state))) == len(COMPONENTS)


def test_a_process_that_got_an_old_number_is_left_alone(plane: ControlPlane) -> None:
    plane.stop()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            plane._pid_file("etcd").write_text(f'{{"pid": {stranger.pid}, "created": 1.0}}')
            plane.stop()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_failed_start_quotes_the_component_and_leaves_nothing(
    plane: ControlPlane, stack: config.LocalStack, tmp_path: Path
) -> None:
    plane.stop()
    spec = kube_cluster.spec(stack, plane.folder, webhook=tmp_path / "missing")
    broken = ControlPlane(spec, kube_cluster.ensure_binaries())
    with pytest.raises(ControlPlaneError, match=r"(?s)kube-apiserver ended.*missing"):
        broken.start()
    assert processes.members(str(stack.state)) == []
    assert_no_port_is_taken(stack)
