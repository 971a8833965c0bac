"""How a child process is kept alive, and how the supervisor is found. The whole local stack: test_cli.py."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.stack import config, processes, supervisor
from local.stack import service as service_module
from local.stack.service import Service
from tests.waiting import until


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made = []

    def service(code: str, **settings: object) -> Service:
        env = os.environ | {config.MARK: str(tmp_path)}
        options = {"env": lambda: env, "healthy": lambda started: True, "log": tmp_path / "log"} | settings
        made.append(Service("child", [sys.executable, "-c", code], **options))
        return made[-1]

    yield service
    for one in made:
        one.signal_stop()
        one.wait_stopped(time.monotonic())


SLEEP = "import time; time.sleep(60)"


def watched(service: Service, state: str) -> None:
    def reached() -> bool:
        service.watch()
        return service.state == state

    until(reached)


def test_a_dead_child_is_started_again_and_counted(make, monkeypatch):
    monkeypatch.setattr(service_module, "BACKOFF", (0.1,))
    service = make(SLEEP)
    service.start()
    watched(service, "running")
    first = service.process.pid
    os.kill(first, signal.SIGKILL)
    watched(service, "restarting")
    watched(service, "running")
    assert service.describe()["pid"] != first
    assert service.describe()["restarts"] == 1


def test_a_child_that_keeps_dying_waits_longer_each_time(make, monkeypatch):
    monkeypatch.setattr(service_module, "BACKOFF", (0.01, 0.02, 30))
    service = make("raise SystemExit(3)")
    service.start()
    until(lambda: service.watch() or service.failures == 3)
    assert service.state == "restarting"
    assert service.retry_at > time.time() + 20


def test_what_a_child_leaves_in_its_group_ends_with_it(make, tmp_path):
    service = make(f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); {SLEEP}")
    service.start()
    until(lambda: len(processes.members(str(tmp_path))) == 2)
    os.kill(service.process.pid, signal.SIGKILL)
    watched(service, "restarting")
    until(lambda: not processes.members(str(tmp_path)))


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(make, tmp_path):
    deaf = "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    service = make(f"{deaf} pathlib.Path({str(tmp_path / 'deaf')!r}).touch(); {SLEEP}")
    service.start()
    until((tmp_path / "deaf").exists)
    service.signal_stop()
    began = time.monotonic()
    service.wait_stopped(began + 0.3)
    assert 0.3 <= time.monotonic() - began < 5
    assert service.process.returncode == -signal.SIGKILL


def test_a_child_is_not_running_before_it_is_healthy(make):
    service = make(SLEEP, healthy=lambda started: False)
    service.start()
    service.watch()
    assert service.state == "starting"


def test_without_a_lock_there_is_no_supervisor(tmp_path):
    assert supervisor.running(tmp_path) is None


def test_who_holds_the_lock_is_told_by_pid_and_keeps_it(tmp_path):
    with supervisor.locked(tmp_path) as mine, supervisor.locked(tmp_path) as second:
        assert (mine, second) == (True, False)
        assert supervisor.running(tmp_path) == os.getpid()
    assert supervisor.running(tmp_path) is None


def test_leftovers_of_a_stack_are_ended_and_those_of_another_are_not(tmp_path):
    states = [tmp_path / "one", tmp_path / "two"]
    stacks = [config.LocalStack(state, airflow=1, aws=2, endpoint=3, kube=4, block=0) for state in states]
    ours, others = (
        subprocess.Popen([sys.executable, "-c", SLEEP], env=os.environ | {config.MARK: str(state)}) for state in states
    )
    try:
        until(lambda: processes.members(str(states[1])))
        supervisor.end_leftovers(stacks[0])
        assert not processes.is_alive(ours.pid)
        assert others.poll() is None
    finally:
        others.kill()
        others.wait()
