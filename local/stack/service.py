"""A service of the local stack: a child process that is started, watched, restarted and stopped."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.stack import config, processes

BACKOFF = (1, 2, 4, 8, 15, 30)
"""Seconds before the first, second, … restart; a service that ran for STEADY seconds starts over."""
STEADY = 60


@dataclass
class Service:
    """A child process that is restarted when it ends."""

    name: str
    command: list[str]
    env: Callable[[], dict[str, str]]
    healthy: Callable[[float], bool]
    """Returns whether it works, given the time of its start."""
    log: Path
    port: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10
    """Seconds from the signal to SIGKILL."""
    state: str = "waiting"
    restarts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    retry_at: float = 0
    failures: int = 0
    """Ends since it last ran for STEADY seconds."""
    was_healthy: bool = False

    def start(self) -> None:
        """Start the process; its output goes to the log."""
        self.started = time.time()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=config.ROOT,
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,
            )
        self.state = "starting"

    def watch(self) -> None:
        """Bring the state up to date: healthy, ended, due for the next start."""
        if self.process is None:
            return
        if self.state == "restarting":
            if time.time() >= self.retry_at:
                self.restarts += 1
                self.start()
        elif (code := self.process.poll()) is not None:
            self._ended(code)
        elif self.state == "starting" and self.healthy(self.started):
            self.state = "running"
            self.was_healthy = True

    def _ended(self, code: int) -> None:
        lived = time.time() - self.started
        self.failures = 1 if lived > STEADY else self.failures + 1
        delay = BACKOFF[min(self.failures, len(BACKOFF)) - 1]
        print(f"{self.name} ended with {code} after {lived:.0f} s; next start in {delay} s", flush=True)
        kill_group(self.process)
        self.state = "restarting"
        self.retry_at = time.time() + delay

    def signal_stop(self) -> None:
        """Ask the process to stop."""
        self.state = "stopping"
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def wait_stopped(self, until: float) -> None:
        """Wait for the end of the process until `until` (time.monotonic), then kill its group."""
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0, until - time.monotonic()))
            kill_group(self.process)
        self.state = "stopped"

    def describe(self) -> dict[str, Any]:
        """Return what the status file says of the service."""
        alive = self.process is not None and self.process.poll() is None
        return {
            "state": self.state,
            "pid": self.process.pid if self.process and alive else None,
            "restarts": self.restarts,
            "port": self.port,
            "log": str(self.log),
        }


def kill_group(process: subprocess.Popen[bytes] | None) -> None:
    """Send SIGKILL to what is left of a child's process group, and wait for the child."""
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def log_tail(log: Path, count: int = 12) -> str:
    """Return the last lines of a log; an empty text if there is none."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""
