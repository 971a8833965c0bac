"""`make demo`: the whole life cycle, driven as a user would: Airflow's REST API, S3 and HTTP, nothing else.

DATA names a folder of weekly files (transactions_YYYYWW.csv[.gz]); without it twelve synthetic weeks are written.
APPROVE=wait prints where to approve and waits for a person; otherwise the demo answers as the signed-in user, through
the REST call that a click in the UI makes. Everything stays up; the result is in `<state>/demo.json`.
"""

import contextlib
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.table import Table

from include import lake
from include.settings import settings
from local import config, images
from local.airflow.api import Airflow
from local.aws.credentials import client_env
from local.ingest import land

SYNTHETIC_WEEKS = 12
HELD_OUT = 10
ANSWER_AFTER = 2.5
"""Seconds between a question's appearance and its answer: an earlier answer can fail the task (Airflow 3.3.2 queues
the resumed task while its supervisor still lingers for one heartbeat interval)."""

console = Console(highlight=False)


class DemoError(Exception):
    """Why the demo stopped, and where to look."""


@dataclass
class Demo:
    world: config.World
    airflow: Airflow
    session: boto3.Session
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Times a stage under `name` and shows that it runs."""
        began = time.monotonic()
        with console.status(f"{text} …") if console.is_terminal else contextlib.nullcontext():
            yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        console.print(f"[green]✓[/] {text}  [dim]{self.seconds[name]:.1f} s[/]")

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.world.aws_url)


def weekly_files(folder: str | None, state: Path) -> dict[str, Path]:
    """{shop week: file}; synthetic weeks are generated once below the state folder."""
    if not folder:
        target = state / "data"
        if not any(target.glob("transactions_*.csv.gz")):
            python = config.ROOT / ".venv/jobs/bin/python"
            subprocess.run(
                [python, "-m", "local.data", "--out", target, "--weeks", str(SYNTHETIC_WEEKS)],
                cwd=config.ROOT, check=True, stdout=subprocess.DEVNULL,
            )
        folder = str(target)
    files = {file.name.split("_")[-1].split(".")[0]: file for file in sorted(Path(folder).glob("*.csv*"))}
    if not files:
        raise DemoError(f"no weekly files in {folder}: expected transactions_YYYYWW.csv or .csv.gz")
    return {lake.shop_week(week): file for week, file in files.items()}
