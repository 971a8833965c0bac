"""Run the process of a job: log its lines, end it when a stop is requested or its time is over."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from local.aws.sagemaker.job_logs import JobLog
from local.stack import processes

GRACE_SECONDS: Final = 10.0
"""Between SIGTERM and SIGKILL; SageMaker gives 120 s."""
POLL_SECONDS: Final = 0.2
FLUSH_SECONDS: Final = 1.0
OUT_OF_TIME: Final = "MaxRuntimeExceeded"


class Stop:
    """A request to end a job. The first reason counts."""

    def __init__(self) -> None:
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Return why the job must end; None while it may run."""
        return self._reason

    def request(self, reason: str) -> None:
        """Request that the job ends."""
        self._reason = self._reason or reason


def _kill(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to the job's process and its children: it leads a group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def run(command: list[str], cwd: Path, env: Mapping[str, str], log: JobLog, stop: Stop, limit_seconds: float) -> int:
    """Run the command to its end and return its exit code; negative: the signal that ended it.

    Call it from a thread that lives as long as this process: the child dies with the thread that started it.
    Raise OSError if the command cannot be started.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=processes.die_with_parent,
    )
    reader = threading.Thread(target=_read, args=(process, log), daemon=True, name=f"log of {process.pid}")
    reader.start()
    deadline, flushed = time.monotonic() + limit_seconds, time.monotonic()
    kill_at: float | None = None
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
        moment = time.monotonic()
        if moment > deadline:
            stop.request(OUT_OF_TIME)
        if stop.reason and kill_at is None:
            kill_at = moment + GRACE_SECONDS
            _kill(process, signal.SIGTERM)
        elif kill_at is not None and moment > kill_at:
            _kill(process, signal.SIGKILL)
        if moment > flushed + FLUSH_SECONDS:
            log.flush()
            flushed = moment
    _kill(process, signal.SIGKILL)  # children that it left
    reader.join(GRACE_SECONDS)
    log.flush()
    return process.returncode


def _read(process: subprocess.Popen[str], log: JobLog) -> None:
    assert process.stdout  # noqa: S101  for the type checker: it is a pipe
    with process.stdout as lines:
        for line in lines:
            log.put(line.rstrip("\n"))
