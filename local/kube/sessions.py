"""The processes of a container: the session that its main process leads."""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import psutil


@dataclass
class Usage:
    """What a session uses."""

    cpu: float = 0.0
    """Seconds, including ended children that were waited for."""
    memory: int = 0
    """Resident bytes."""


def _sessions() -> Iterator[tuple[int, int]]:
    """Yield the pid and the session of each process."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            yield pid, os.getsid(pid)


def usage(leaders: set[int]) -> dict[int, Usage]:
    """Return what the sessions of these leaders use now."""
    usages = {leader: Usage() for leader in leaders}
    for pid, leader in _sessions():
        if leader in usages:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                usages[leader].cpu += sum(process.cpu_times()[:4])
                usages[leader].memory += process.memory_info().rss
    return usages


def kill(leader: int) -> None:
    """Send SIGKILL to each process of a session, also to those that are forked meanwhile."""
    killed: set[int] = set()
    while fresh := {pid for pid, session in _sessions() if session == leader} - killed:
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= fresh
