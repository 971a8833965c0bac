"""The servers that are measured, each a process of its own, on a processor that the load generator does not use."""

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

PATIENCE_SECONDS = 90
UVICORN = [
    *("-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--loop", "uvloop", "--http", "httptools"),
    *("--ws", "none", "--lifespan", "off", "--no-access-log", "--log-level", "warning"),
    *("--no-server-header", "--no-date-header"),
]
"""As api/http/server.py has it."""


@dataclass(frozen=True)
class Server:
    """How to start it; {port} in the command and the environment is replaced."""

    name: str
    runtime: str
    command: Sequence[str]
    environment: Mapping[str, str]


def bare() -> Server:
    return Server("bare ASGI", "api", [*UVICORN, "benchmarks.serving.bare:app"], {})


def api(model: Model, aws: StubAws) -> Server:
    """The API as a release starts it."""
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
    return Server("naive", "dev", [*UVICORN, "benchmarks.serving.naive:app"], forest_environment(model))


def forest_environment(model: Model) -> dict[str, str]:
    return {"FOREST": str(model.forest), "PRODUCTS": str(model.bundle / PRODUCTS)}


class Running:
    """A server that has answered its first prediction, `ready_seconds` after its start."""

    def __init__(self, server: Server, body: bytes, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        self.name, self.url = server.name, f"http://127.0.0.1:{port}/predict"
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        environment |= {name: value.format(port=port) for name, value in server.environment.items()}
        began = time.monotonic()
        with log.open("wb") as out:
            self._popen = subprocess.Popen(
                [ROOT / ".venv" / server.runtime / "bin/python", *(part.format(port=port) for part in server.command)],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait(body, began + PATIENCE_SECONDS, log)
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began

    def _wait(self, body: bytes, until: float, log: Path) -> None:
        while time.monotonic() < until and self._popen.poll() is None:
            try:
                closed_loop(self.url, 1, 0, [body])
                return
            except NothingMeasuredError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} answers no prediction; its log: {log.read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def _processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.pid)
        return [own, *own.children(recursive=True)]

    def cpu_seconds(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    def memory_mb(self) -> float:
        """Resident memory of the process and its children; what they share counts more than once."""
        return sum(process.memory_info().rss for process in self._processes) / 2**20

    def stop(self) -> None:
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


@contextmanager
def processor(number: int) -> Iterator[bool]:
    """This thread, and what it starts, on one of the processors it may use; False where that is not possible."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        yield False
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(before)[number]})
    try:
        yield True
    finally:
        os.sched_setaffinity(0, before)
