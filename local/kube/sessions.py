"""The processes of a container: those of the session that its main process leads."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass
class Usage:
    cpu: float = 0.0
    """Seconds, with those of ended children that were waited for."""
    memory: int = 0
    """Resident bytes."""


def _of_all() -> Iterator[tuple[int, int]]:
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            yield pid, os.getsid(pid)


def usage(leaders: set[int]) -> dict[int, Usage]:
    """What the sessions of these leaders use now."""
    found = {leader: Usage() for leader in leaders}
    for pid, leader in _of_all():
        if leader in found:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                found[leader].cpu += sum(process.cpu_times()[:4])
                found[leader].memory += process.memory_info().rss
    return found


def kill(leader: int) -> None:
    """SIGKILL to each process of a session, also to those that are forked meanwhile."""
    killed: set[int] = set()
    while fresh := {pid for pid, session in _of_all() if session == leader} - killed:
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= fresh
