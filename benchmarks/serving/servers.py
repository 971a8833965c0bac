"""Start the measured servers, each in its own process, on a processor that the load generator does not use."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.common import ROOT
from benchmarks.load import NothingMeasuredError, closed_loop
from benchmarks.serving.model import Model
from include.baskets.bundle import PRODUCTS
from tests.api.stub_aws import ARN, BUCKET, KEY, StubAws

START_TIMEOUT_SECONDS = 90
UVICORN = [
    *("-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools"),
    *("--ws", "none", "--lifespan", "off", "--no-access-log", "--log-level", "warning"),
    *("--no-server-header", "--no-date-header"),
]
"""The same settings as in api/http/server.py."""


@dataclass(frozen=True)
class Server:
    """How to start a server. {port} in the command and the environment is replaced."""

    name: str
    runtime: str
    command: Sequence[str]
    environment: Mapping[str, str]


def bare() -> Server:
    """Return the bare ASGI application."""
    return Server("bare ASGI", "api", [*UVICORN, "benchmarks.serving.bare:app"], {})


def api(model: Model, aws: StubAws) -> Server:
    """Return the API, started as a release starts it."""
    release = {
        "RELEASE_ID": "benchmark",
        "MODEL_PACKAGE_ARN": ARN,
        "MODEL_DATA_URL": f"s3://{BUCKET}/{KEY}",
        "BUNDLE_DIGEST": model.digest,
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "PORT": "{port}",
        "DRAIN_SECONDS": "0",
    }
    return Server("retail-api", "api", ["-m", "api"], release)


def naive(model: Model) -> Server:
    """Return the naive service."""
    return Server("naive", "dev", [*UVICORN, "benchmarks.serving.naive:app"], forest_environment(model))


def forest_environment(model: Model) -> dict[str, str]:
    """Return the environment variables that forest.py reads."""
    return {"FOREST": str(model.forest), "PRODUCTS": str(model.bundle / PRODUCTS)}


class Running:
    """A server that has answered its first prediction, `ready_seconds` after the start of its process."""

    def __init__(self, server: Server, body: bytes, log: Path) -> None:
        port = _unused_port()
        self.name = server.name
        self.url = f"http://127.0.0.1:{port}/predict"
        began = time.monotonic()
        self._popen = _popen(server, port, log)
        try:
            self._wait(body, began + START_TIMEOUT_SECONDS, log)
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began

    def _wait(self, body: bytes, deadline: float, log: Path) -> None:
        while time.monotonic() < deadline and self._popen.poll() is None:
            try:
                closed_loop(self.url, 1, 0, [body])
                return
            except NothingMeasuredError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not answer a prediction; the end of its log: {log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process and its children."""
        times = [process.cpu_times() for process in self._processes]
        return float(sum(time.user + time.system for time in times))

    def memory_mb(self) -> float:
        """Return the resident memory of the process and its children; shared pages count more than once."""
        return float(sum(process.memory_info().rss for process in self._processes)) / 2**20

    def stop(self) -> None:
        """End the process and its children."""
        processes = self._processes if self._popen.poll() is None else []
        self._popen.terminate()
        try:
            self._popen.wait(10)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        for process in processes[1:]:
            if process.is_running():
                process.kill()
        self._popen.wait(10)


def _unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _popen(server: Server, port: int, log: Path) -> "subprocess.Popen[bytes]":
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    environment |= {name: value.format(port=port) for name, value in server.environment.items()}
    python = ROOT / ".venv" / server.runtime / "bin/python"
    with log.open("wb") as out:
        return subprocess.Popen(
            [python, *(part.format(port=port) for part in server.command)],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


@contextmanager
def processor(number: int) -> Iterator[bool]:
    """Pin this thread, and what it starts, to one of its processors. Yield False where that is not possible."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)
