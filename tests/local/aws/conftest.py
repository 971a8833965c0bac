"""A private local AWS: the real process on free ports, with a state folder and a stack registry of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from include.settings import REGION
from local.aws import credentials, home
from local.stack import config, kube_cluster, processes

PYTHON = config.ROOT / ".venv" / "local-aws" / "bin" / "python"


def eventually(what: Callable[[], Any], seconds: float = 30) -> Any:
    """Return the first true answer. Fail after so many seconds with the last answer."""
    until = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < until, f"still {answer!r} after {seconds} s"
        time.sleep(0.1)
    return answer


class Service:
    """`python -m local.aws` on one state folder."""

    def __init__(self, base: Path) -> None:
        self.state = base / "state"
        self.env = os.environ | {
            "LOCAL_STATE": str(self.state),
            "XDG_CACHE_HOME": str(base / "cache"),
            "KUBE_ASSETS": str(kube_cluster.ensure_binaries()),  # from the user's own cache
            "LOCAL_AWS_PORT": str(config.any_free_port()),
        }
        with mock.patch.dict(os.environ, self.env):
            self.stack = config.load(self.state)
        self.log = base / "log"
        self.process: subprocess.Popen | None = None

    def start(self, seconds: float = 120) -> None:
        ready = home.folder(self.stack) / "ready"
        ready.unlink(missing_ok=True)
        with self.log.open("a") as out:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "local.aws"], cwd=config.ROOT, env=self.env, stdout=out, stderr=out
            )
        process = self.process
        eventually(lambda: ready.exists() or process.poll() is not None, seconds)
        assert process.poll() is None, self.log.read_text()[-3000:]

    def end(self, how: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(60)

    def client(self, service: str) -> Any:
        return credentials.session(self.stack).client(service)

    def client_of(self, service: str, key: dict[str, str]) -> Any:
        """A client of the keys that CreateAccessKey or AssumeRole answered."""
        session = credentials.Session(
            self.stack.aws_url,
            aws_access_key_id=key["AccessKeyId"],
            aws_secret_access_key=key["SecretAccessKey"],
            aws_session_token=key.get("SessionToken"),
            region_name=REGION,
        )
        return session.client(service)

    def children(self) -> list[int]:
        return processes.marked(home.MARK, str(home.folder(self.stack)))

    def remove(self) -> None:
        if self.process and self.process.poll() is None:
            self.end(signal.SIGKILL)
        processes.terminate(self.children(), 5)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Return a started service; each module has its own."""
    base = Path(tempfile.mkdtemp(prefix="aws-"))  # short: sockets and names of the local stack hang below it
    service = Service(base)
    try:
        service.start()
        yield service
    finally:
        service.remove()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def nobody(service: Service) -> dict[str, str]:
    """Keys of an IAM user without any policy."""
    iam = service.client("iam")
    iam.create_user(UserName="nobody")
    return iam.create_access_key(UserName="nobody")["AccessKey"]
