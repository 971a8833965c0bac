"""One embedded world for all tests of this folder: its own state, ports and addresses, beside whatever else runs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import config
from local.airflow.api import Airflow
from local.aws.credentials import session
from local.kube import assets

PYTHON = config.ROOT / ".venv/local-aws/bin/python"
WEEKS = 6


@dataclass(frozen=True)
class Live:
    """A running world after `make demo`."""

    world: config.World
    env: dict[str, str]
    airflow: Airflow
    demo: dict[str, Any]

    def client(self, service: str) -> Any:
        return session(self.world).client(service, endpoint_url=self.world.aws_url)

    def local(self, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(self.env, "local", *args, check=check)

    def local_demo(self) -> None:
        run(self.env | {"DATA": str(self.world.state / "weeks")}, "local.demo")

    def status(self) -> dict[str, Any]:
        """The supervisor's own account of its services: name -> pid, state, restarts."""
        return json.loads((self.world.state / "status.json").read_text())

    def kubectl(self, *args: str, check: bool = True) -> str:
        """kubectl as the cluster's administrator; its output, errors included."""
        command = [assets.ensure() / "kubectl", "--kubeconfig", self.world.state / "kubeconfig", *args]
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


def run(env: dict[str, str], module: str, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([PYTHON, "-m", module, *args], cwd=config.ROOT, env=env, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(
            f"{module} {args} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        )
    return done


def weekly_files(folder: Path) -> None:
    jobs = config.ROOT / ".venv/jobs/bin/python"
    subprocess.run([jobs, "-m", "local.data", "--out", folder, "--weeks", str(WEEKS)], cwd=config.ROOT, check=True)


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """The demo on synthetic weeks in a world of its own, taken down at the end."""
    state = Path(tempfile.mkdtemp(prefix="rmw-"))  # short: sockets have a length limit
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCAL_", "RETAIL_", "AWS_"))}
    env = kept | {"LOCAL_STATE": str(state)}
    try:
        weekly_files(state / "weeks")
        shown = run(env | {"DATA": str(state / "weeks")}, "local.demo")
        print(shown.stdout)
        world = config.load(state)
        yield Live(world, env, Airflow(world), json.loads((state / "demo.json").read_text()))
    finally:
        left = run(env, "local", "clean", check=False)
        if left.returncode:
            print(left.stdout, left.stderr, file=sys.stderr)
        shutil.rmtree(state, ignore_errors=True)
