"""How the processes of a local stack are found by their mark, and ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.stack import config, processes
from tests.waiting import until

READY = "print('ready', flush=True); import time; time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY
PARENT = """
import subprocess, sys, time
from local.stack import processes
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=processes.die_with_parent)
print(child.pid, flush=True)
time.sleep(60)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with some code and an environment; returns when it has printed its first line."""
    started = []

    def run(code: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | env, cwd=config.ROOT, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_members_are_those_that_carry_the_state_folder(start: Start, tmp_path: Path) -> None:
    ours = start(READY, **{config.MARK: str(tmp_path)})
    other = start(READY, **{config.MARK: f"{tmp_path}-other"})
    assert (line(ours), line(other)) == ("ready", "ready")
    assert processes.members(str(tmp_path)) == [ours.pid]


def test_the_caller_is_no_member(start: Start, tmp_path: Path) -> None:
    code = f"from local.stack import processes; print(processes.members({str(tmp_path)!r}))"
    assert line(start(code, **{config.MARK: str(tmp_path)})) == "[]"


def test_processes_are_found_by_any_mark(start: Start) -> None:
    ours = start(READY, SOME_MARK="a value")
    assert line(ours) == "ready"
    assert processes.marked("SOME_MARK", "a value") == [ours.pid]
    assert processes.marked("SOME_MARK", "a") == []


def test_a_zombie_is_not_alive(start: Start) -> None:
    ours = start(READY)
    assert line(ours) == "ready"
    assert processes.is_alive(ours.pid)
    os.kill(ours.pid, signal.SIGKILL)  # and not waited for
    until(lambda: not processes.is_alive(ours.pid))
    assert ours.returncode is None


def test_a_number_that_no_process_has_is_not_alive(start: Start) -> None:
    ours = start("pass")
    ours.wait(10)
    assert not processes.is_alive(ours.pid)


def test_terminate_asks_first(start: Start) -> None:
    ours = start("import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); " + READY)
    assert line(ours) == "ready"
    processes.terminate([ours.pid], grace=10)
    assert not processes.is_alive(ours.pid)


def test_terminate_kills_what_does_not_listen(start: Start) -> None:
    ours = start(DEAF)
    assert line(ours) == "ready"
    processes.terminate([ours.pid], grace=0.2)
    assert not processes.is_alive(ours.pid)


def test_terminate_of_what_has_gone_is_nothing(start: Start) -> None:
    ours = start("pass")
    ours.wait(10)
    processes.terminate([ours.pid], grace=0.2)


@pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux's")
def test_a_child_dies_with_its_parent(start: Start) -> None:
    parent = start(PARENT)
    child = int(line(parent))
    assert processes.is_alive(child)
    parent.kill()
    until(lambda: not processes.is_alive(child))
