"""A tiny bundle, a stub of AWS, the application in this process and the server in its own."""

import asyncio
import io
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv/api/bin/python"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True)
class Release:
    """A bundle on disk and packed, and the environment that a release gives to the process that serves it."""

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
    """This process's boto3 talks to the stub."""
    for name, value in (CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url}).items():
        monkeypatch.setenv(name, value)
    return aws


class Client:
    """httpx against the application in this process, one request at a time."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self.request("POST", path, **more)


@dataclass
class Served:
    """The application in this process, with a bundle loaded; `lines` are the log's, parsed."""

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
    """Builds the application with changed settings: serve(API_KEY=...)."""

    def build(loaded_bundle: bundle.Bundle | None = loaded, **changes: str) -> Served:
        config = release.config(**changes)
        state, metrics, stream = State(config), Metrics(), io.BytesIO()
        log = Log(stream, config.log_level, release=config.release_id)
        if loaded_bundle is not None:
            facts = {"bundle_digest": config.bundle_digest, "accuracy": "0.99", "macro_f1": "0.98"}
            state.package = Package(ARN, "Approved", "approved by a person", "2026-11-24", facts)
            state.bundle, state.reason = loaded_bundle, "ready"
        app = create_app(state, log, metrics)
        return Served(Client(app), state, metrics, log, stream)

    return build


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


class Process(Listening):
    """`python -m api` as a release starts it. `lines` are what it logged so far."""

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
        return [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == name]

    def until(self, what: Callable[[], Any], seconds: float = 15) -> Any:
        deadline = time.monotonic() + seconds
        while not (result := what()):
            assert time.monotonic() < deadline, f"not within {seconds} s; log: {self._log.read_text()}"
            time.sleep(0.02)
        return result

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
    """Starts servers against the stub: start(DRAIN_SECONDS="1"); ends what a test leaves."""
    begun: list[Process] = []

    def begin(**changes: str) -> Process:
        environment = release.environment | CREDENTIALS | {"AWS_ENDPOINT_URL": aws.url} | changes
        begun.append(Process(environment, tmp_path / f"api-{len(begun)}.log"))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
