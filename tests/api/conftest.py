"""Fixtures: a tiny bundle, a stub of AWS, the application in this process, the server in its own process."""

import asyncio
import io
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from api.config import Config, load
from api.http.app import create_app
from api.model.state import Package, State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets import bundle
from tests.api import tiny
from tests.api.stub_aws import ARN, BUCKET, KEY, StubAws
from tests.listening import Listening
from tests.waiting import until

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv/api/bin/python"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Release:
    """A bundle as a folder and as an archive, and the environment variables of the process that serves it."""

    directory: Path
    archive: bytes
    digest: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RELEASE_ID": "r-1",
            "MODEL_PACKAGE_ARN": ARN,
            "MODEL_DATA_URL": f"s3://{BUCKET}/{KEY}",
            "BUNDLE_DIGEST": self.digest,
            "AWS_REGION": "ap-southeast-1",
        }

    def config(self, **changes: str) -> Config:
        return load(self.environment | changes)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory = tmp_path_factory.mktemp("bundle")
    digest = tiny.write_bundle(directory)
    packed = tiny.archive(directory, tmp_path_factory.mktemp("archive") / "model.tar.gz")
    return Release(directory, packed.read_bytes(), digest)


@pytest.fixture(scope="session")
def loaded(release: Release) -> bundle.Bundle:
    return bundle.load(release.directory)


@pytest.fixture
def aws(release: Release) -> Iterator[StubAws]:
    stub = StubAws(release.digest, {f"/{BUCKET}/{KEY}": release.archive}).start()
    yield stub
    stub.stop()


@pytest.fixture
def aws_environment(aws: StubAws, monkeypatch: pytest.MonkeyPatch) -> StubAws:
    """Direct the boto3 of this process to the stub."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    return aws


class Client:
    """httpx against the application in this process, one request at a time."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


@dataclass
class Served:
    """The application in this process, with a bundle loaded; `lines` are the parsed lines of its log."""

    client: Client
    state: State
    metrics: Metrics
    log: Log
    stream: io.BytesIO

    @property
    def lines(self) -> list[dict[str, Any]]:
        self.log.flush()
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def serve(release: Release, loaded: bundle.Bundle) -> Callable[..., Served]:
    """Build the application with changed settings: serve(API_KEY=...)."""

    def build(loaded_bundle: bundle.Bundle | None = loaded, **changes: str) -> Served:
        config = release.config(**changes)
        state = State(config)
        metrics = Metrics()
        stream = io.BytesIO()
        log = Log(stream, config.log_level, release=config.release_id)
        if loaded_bundle is not None:
            metadata = {"bundle_digest": config.bundle_digest, "accuracy": "0.99", "macro_f1": "0.98"}
            state.package = Package(ARN, "Approved", "approved by a person", "2026-11-24", metadata)
            state.bundle = loaded_bundle
            state.reason = "ready"
        app = create_app(state, log, metrics)
        return Served(Client(app), state, metrics, log, stream)

    return build


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


class Process(Listening):
    """`python -m api` as a release starts it. `lines` are the log lines so far."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._log = log
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        with log.open("wb") as out:
            self.popen = subprocess.Popen(
                [PYTHON, "-m", "api"],
                cwd=ROOT,
                env=inherited | environment | {"PORT": str(self.port)},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def lines(self) -> list[dict[str, Any]]:
        complete = self._log.read_text().rpartition("\n")[0]  # the last line may be half written
        return [json.loads(line) for line in complete.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == name]

    def until(self, condition: Callable[[], T], seconds: float = 60) -> T:
        """Return the first true result of the condition; fail with the log after `seconds`."""
        try:
            return until(condition, seconds, longest=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; log: {self._log.read_text()}") from None

    def until_ready(self) -> None:
        self.until(lambda: self.get("/ready") == 200)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)


@contextmanager
def serving(release: Release, log: Path, **changes: str) -> Iterator[Process]:
    """A server that is ready, for the tests of a whole file, with a stub of its own."""
    aws = StubAws(release.digest, {f"/{BUCKET}/{KEY}": release.archive}).start()
    process = Process(release.environment | CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url} | changes, log)
    try:
        process.until_ready()
        yield process
    finally:
        process.kill()
        aws.stop()


@pytest.fixture
def start(release: Release, aws: StubAws, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start servers that use the stub: start(DRAIN_SECONDS="1"); end them after the test."""
    processes: list[Process] = []

    def start_process(**changes: str) -> Process:
        environment = release.environment | CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url} | changes
        processes.append(Process(environment, tmp_path / f"api-{len(processes)}.log"))
        return processes[-1]

    yield start_process
    for process in processes:
        process.kill()
