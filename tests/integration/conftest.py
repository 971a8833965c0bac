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

import boto3
import pytest

from local import config
from local.airflow.api import Airflow
from local.aws.credentials import client_env

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
        env = client_env(self.world)
        return boto3.client(
            service, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=env["AWS_REGION"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        )

    def local(self, *args: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run(self.env, "local", *args, check=check)

    def local_demo(self) -> None:
        run(self.env | {"DATA": str(self.world.state / "weeks")}, "local.demo")

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
        raise AssertionError(f"{module} {args} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
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
