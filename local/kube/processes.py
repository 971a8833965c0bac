"""Find and end processes, by a variable that they carry in their environment."""

import contextlib
import ctypes
import os
import signal
import sys

import psutil

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def marked(name: str, value: str) -> list[int]:
    """Return the living processes, without the caller, whose environment has name=value."""
    pids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(name) == value and is_alive(process.pid):
                pids.append(process.pid)
    return pids


def terminate(pids: list[int], grace: float) -> None:
    """Send SIGTERM, and SIGKILL after `grace` seconds; return when all processes are gone."""
    processes = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.append(psutil.Process(pid))
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, living = psutil.wait_procs(processes, timeout=grace)
    for process in living:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(living, timeout=5)


def die_with_parent() -> None:
    """Let this child get SIGTERM when the thread that started it ends (for `preexec_fn`). Linux only."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
