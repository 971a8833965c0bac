"""A run of the demo: the local stack that it works on, its timed stages, and what it asks S3 and the endpoint."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
from rich.markup import escape

from cli.airflow_client import Airflow
from cli.console import console
from cli.errors import CommandError
from cli.follow import active_tasks, failure, run_url
from include.settings import settings
from local.stack import config

STAGE_TIMEOUT = 1800
"""Seconds that one stage may take before the demo gives up and names the page to look at."""
POLL_SECONDS = 0.5


class DemoError(CommandError):
    """Says why the demo stopped, and where to look."""


@dataclass
class Stage:
    """What a stage shows: `show` while it runs (on a terminal), `result` when it is over."""

    show: Callable[[str], None]
    result: str = ""


@dataclass
class Demo:
    """A run of the demo on a local stack that is up."""

    stack: config.LocalStack
    airflow: Airflow
    aws: boto3.Session
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str, text: str) -> Iterator[Stage]:
        """Time a stage under `name`, and show that it runs and how long it took."""
        started = time.monotonic()
        with console.status(text) as status:
            stage = Stage(lambda more: status.update(f"{text}: {escape(more)}"))
            yield stage
        self.seconds[name] = round(time.monotonic() - started, 1)
        result = f": {stage.result}" if stage.result else ""
        console.print(f"[green]✓[/] {text}{result}  [dim]{self.seconds[name]:.1f} s[/]")

    # --- Airflow ---
    def finish(self, stage: Stage, dag: str, run: str) -> None:
        """Wait for a run. Raise DemoError with the tail of the failed task's log when it fails."""
        ended = self.airflow.wait(
            dag, run, STAGE_TIMEOUT, progress=lambda _: stage.show(active_tasks(self.airflow.states(dag, run)))
        )
        if ended["state"] == "failed":
            raise DemoError(failure(self.airflow, dag, run))

    def url(self, dag: str, run: str) -> str:
        """Return the page of a run in Airflow."""
        return run_url(self.airflow, dag, run)

    # --- the lake ---
    def client(self, service: str) -> Any:
        """Return a boto3 client of the AWS emulation."""
        return self.aws.client(service, endpoint_url=self.stack.aws_url)

    def document(self, key: str) -> Any:
        """Return a JSON object of the lake. Raise DemoError if it does not exist."""
        s3 = self.client("s3")
        try:
            return json.loads(s3.get_object(Bucket=settings().bucket, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            raise DemoError(f"s3://{settings().bucket}/{key} does not exist") from None

    def keys(self, prefix: str) -> set[str]:
        """Return the keys of the lake below a prefix."""
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix)
        return {item["Key"] for page in pages for item in page.get("Contents", [])}

    # --- the endpoint ---
    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.stack.endpoint}"

    def ask(self, path: str, body: Any = None) -> Any:
        """Return the public endpoint's answer to a GET, or to a POST of a JSON body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())
