"""One local stack for all tests of this folder: its own state, ports and addresses, beside whatever else runs."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.airflow_client import Airflow
from include.settings import settings
from local.aws.credentials import session
from local.stack import config, kube_cluster
from tests.private_stack import private_stack, run


@dataclass(frozen=True)
class Live:
    """A running local stack after `make demo`."""

    stack: config.LocalStack
    env: dict[str, str]
    airflow: Airflow
    demo: dict[str, Any]

    def client(self, service: str) -> Any:
        return session(self.stack).client(service, endpoint_url=self.stack.aws_url)

    def newest_image(self, repository: str) -> str:
        """Reference by digest of the image pushed last; the bills of materials beside them are none."""
        images = self.client("ecr").describe_images(repositoryName=repository)["imageDetails"]
        runnable = [image for image in images if not image["imageTags"][0].startswith("sha256-")]
        newest = max(runnable, key=lambda image: image["imagePushedAt"])
        return f"{settings().repository(repository)}@{newest['imageDigest']}"

    def local(self, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(self.env, "cli", *args, check=check)

    def local_demo(self) -> None:
        run(self.env, "cli", "demo")

    def status(self) -> dict[str, Any]:
        """The supervisor's own account of its services: name -> pid, state, restarts."""
        return json.loads((self.stack.state / "status.json").read_text())

    def kubectl(self, *args: str, check: bool = True, kubeconfig: Path | None = None) -> str:
        """kubectl as the cluster's administrator; its output, errors included."""
        login = kubeconfig or self.stack.state / "kubeconfig"
        command = [kube_cluster.ensure_binaries() / "kubectl", "--kubeconfig", login, *args]
        done = subprocess.run(command, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def wait_for_endpoint(self, seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while True:
            try:
                urllib.request.urlopen(self.demo["endpoint"] + "/ready", timeout=2)
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """The demo on synthetic weeks in a local stack of its own, taken down at the end."""
    with private_stack() as (state, env):
        shown = run(env, "cli", "demo")
        print(shown.stdout)
        stack = config.load(state)
        yield Live(stack, env, Airflow(stack), json.loads((state / "demo.json").read_text()))
