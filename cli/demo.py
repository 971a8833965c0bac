"""`make demo`: the whole life cycle, driven as a user would: Airflow's REST API, S3 and HTTP, nothing else.

DATA names a folder of weekly files (transactions_YYYYWW.csv[.gz]); without it twelve synthetic weeks are written.
APPROVE=wait prints where to approve and waits for a person; otherwise the demo answers as the signed-in user, through
the REST call that a click in the UI makes. Everything stays up; the result is in `<state>/demo.json`. Ctrl-C takes
down what the demo itself started.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.airflow_client import Airflow, AirflowError
from cli.ingest import IngestError, WeeklyFile, land, weekly_file
from cli.run_dag import now_running, where, why_failed
from include import lake
from include.settings import API_REPOSITORY, JOBS_REPOSITORY, settings
from local.aws.credentials import session
from local.stack import airflow_environment as environment
from local.stack import code_images as images
from local.stack import config, supervisor

SYNTHETIC_WEEKS = 12
PREDICTED = 10
PATIENCE = 1800
"""Seconds that one stage may take before the demo gives up and says where to look."""
ANSWER_AFTER = 2.5
"""Seconds between a question's appearance and its answer: an earlier one can fail the task (Airflow 3.3.2 queues the
resumed task while its supervisor still lingers for one heartbeat interval)."""

console = Console(highlight=False)


class DemoError(Exception):
    """Why the demo stopped, and where to look."""


@dataclass
class Demo:
    """A run of the demo on a local stack that is up."""

    stack: config.LocalStack
    airflow: Airflow
    aws: boto3.Session
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def stage(self, name: str, text: str) -> Iterator["Said"]:
        """Times a stage under `name` and shows that it runs."""
        began = time.monotonic()
        with console.status(text) as status:
            said = Said(lambda more: status.update(f"{text}: {escape(more)}"))
            yield said
        self.seconds[name] = round(time.monotonic() - began, 1)
        result = f": {said.result}" if said.result else ""
        console.print(f"[green]✓[/] {text}{result}  [dim]{self.seconds[name]:.1f} s[/]")

    def client(self, service: str) -> Any:
        return self.aws.client(service, endpoint_url=self.stack.aws_url)

    def document(self, key: str) -> Any:
        """A JSON object of the lake; DemoError if it is not there."""
        s3 = self.client("s3")
        try:
            return json.loads(s3.get_object(Bucket=settings().bucket, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            raise DemoError(f"s3://{settings().bucket}/{key} is not there") from None

    def keys(self, prefix: str) -> set[str]:
        pages = self.client("s3").get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.stack.endpoint}"

    def ask(self, path: str, body: Any = None) -> Any:
        """The public endpoint's answer to a GET, or to a POST of a JSON body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.endpoint + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())


@dataclass
class Said:
    """What a stage says: `show` while it runs (on a terminal), `result` when it is over."""

    show: Callable[[str], None]
    result: str = ""


# --- stages ---
def start() -> None:
    if subprocess.run([sys.executable, "-m", "cli", "up"], cwd=config.ROOT, check=False).returncode:
        raise DemoError("the local stack did not start: its own message stands above")


def stop() -> None:
    subprocess.run([sys.executable, "-m", "cli", "down"], cwd=config.ROOT, check=False)


def weekly_files(folder: str | None, state: Path) -> list[WeeklyFile]:
    """The files of DATA; without it synthetic weeks, written once below the state folder."""
    if not folder:
        target = state / "data"
        if len(list(target.glob("transactions_*.csv.gz"))) < SYNTHETIC_WEEKS:
            python = config.ROOT / ".venv/jobs/bin/python"
            command: list[str | Path] = [python, "-m", "local.data", "--out", target, "--weeks", str(SYNTHETIC_WEEKS)]
            subprocess.run(command, cwd=config.ROOT, check=True, stdout=subprocess.DEVNULL)
        folder = str(target)
    paths = sorted(path for path in Path(folder).glob("transactions_*") if ".csv" in path.suffixes)
    if not paths:
        raise DemoError(f"no weekly files in {folder}: expected transactions_YYYYWW.csv or .csv.gz")
    return [weekly_file(path) for path in paths]


def finish(demo: Demo, said: Said, dag: str, run: str) -> None:
    """Wait for a run; DemoError with the failed task's last words when it fails."""
    until = time.monotonic() + PATIENCE
    while (state := demo.airflow.run(dag, run)["state"]) not in ("success", "failed"):
        if time.monotonic() > until:
            raise DemoError(f"{dag} is {state} after {PATIENCE} s: {where(demo.airflow, dag, run)}")
        said.show(now_running(demo.airflow, dag, run))
        time.sleep(0.5)
    if state == "failed":
        raise DemoError(why_failed(demo.airflow, dag, run))


def transform(demo: Demo, said: Said, weeks: list[str]) -> None:
    """Every week without gold becomes gold; a few runs go on at a time."""
    there = demo.keys(lake.GOLD_MANIFESTS)
    missing = [week for week in weeks if lake.gold_manifest(week) not in there]
    runs = {week: demo.airflow.trigger("etl", partition_key=week) for week in missing}
    until = time.monotonic() + PATIENCE
    done: set[str] = set()
    while len(done) < len(runs):
        states = {run["dag_run_id"]: run["state"] for run in demo.airflow.runs("etl")}
        for week in runs.keys() - done:
            state = states[runs[week]]
            if state == "failed":
                raise DemoError(why_failed(demo.airflow, "etl", runs[week]))
            if state == "success":
                done.add(week)
        if time.monotonic() > until:
            raise DemoError(
                f"etl of {sorted(runs.keys() - done)} not done after {PATIENCE} s: {demo.stack.airflow_url}"
            )
        said.show(f"{len(done)} of {len(runs)} weeks")
        time.sleep(0.5)
    said.result = f"{len(runs)} weeks built, {len(weeks) - len(runs)} were there"


def learn(demo: Demo, said: Said, wait_for_person: bool) -> str:
    """A run of train, its question answered; the run's id."""
    run = demo.airflow.trigger("train")
    until, asked = time.monotonic() + PATIENCE, False
    while demo.airflow.run("train", run)["state"] not in ("success", "failed"):
        states = {task["task_id"]: task["state"] for task in demo.airflow.task_instances("train", run)}
        if states.get("approve") == "awaiting_input" and not asked:
            asked = True
            if wait_for_person:
                console.print(f"approve or reject the model at {where(demo.airflow, 'train', run)}/tasks/approve")
            else:
                time.sleep(ANSWER_AFTER)
                demo.airflow.answer("train", run, "approve", "Approve", {"reason": "the demo's figures pass the gate"})
        people_may_take_their_time = asked and wait_for_person
        if time.monotonic() > until and not people_may_take_their_time:
            raise DemoError(f"train is not done after {PATIENCE} s: {where(demo.airflow, 'train', run)}")
        said.show(now_running(demo.airflow, "train", run))
        time.sleep(0.5)
    finish(demo, said, "train", run)
    return run


def release(demo: Demo, said: Said, train_run: str) -> None:
    """Wait for the run of deploy that the approval started; start one when nothing new was approved."""
    announced = {task["task_id"]: task["state"] for task in demo.airflow.task_instances("train", train_run)}["announce"]
    if announced == "success":
        run = started_by(demo, train_run)
    else:
        said.show("no new model: deploy decides whether there is anything to do")
        run = demo.airflow.trigger("deploy")
    finish(demo, said, "deploy", run)


def started_by(demo: Demo, train_run: str) -> str:
    """The deploy run that the training run's event started, waited for."""
    until = time.monotonic() + 60
    ended = demo.airflow.run("train", train_run)
    while time.monotonic() < until:
        for run in demo.airflow.runs("deploy"):
            if run["run_type"] == "asset_triggered" and run["run_after"] >= ended["start_date"]:
                return run["dag_run_id"]
        time.sleep(0.5)
    raise DemoError(f"the approval did not start deploy: {demo.stack.airflow_url}/dags/deploy")


def held_out(demo: Demo, release_record: dict[str, Any]) -> list[dict[str, Any]]:
    """Baskets of the test split with their true labels, as the evaluation kept them."""
    key = release_record["evidence_url"].split("/", 3)[3].rpartition("/")[0] + "/held_out.jsonl"
    body = demo.client("s3").get_object(Bucket=settings().bucket, Key=key)["Body"].read().decode()
    samples = [json.loads(line) for line in body.splitlines()]
    return [sample for sample in samples if sample["label"]][:PREDICTED]


# --- what came out of it ---
def summary(demo: Demo, weeks: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content of demo.json, and the record of the release that serves."""
    model = demo.ask("/model")
    released = demo.document(lake.deployment(model["release"]))["release"]
    evidence = demo.document(released["evidence_url"].split("/", 3)[3])
    manifests = [demo.document(lake.gold_manifest(week)) for week in weeks]
    return {
        "environment": settings().environment,
        "weeks": weeks,
        "rows": sum(manifest["rows"] for manifest in manifests),
        "baskets": sum(manifest["baskets"] for manifest in manifests),
        "accuracy": evidence["accuracy"],
        "macro_f1": evidence["macro_f1"],
        "ladder": evidence["ladder"],
        "model_package_arn": model["model_package_arn"],
        "model_version": model["model_version"],
        "bundle_digest": model["bundle_digest"],
        "image": released["image"].partition("/")[2],
        "endpoint": demo.endpoint,
        "airflow_url": demo.stack.airflow_url,
        "aws_endpoint": demo.stack.aws_url,
        "seconds": demo.seconds,
    }, released


def show_baskets(demo: Demo, samples: list[dict[str, Any]]) -> None:
    table = Table(title="Held-out baskets, over HTTP")
    for heading in ("lines", "known", "true label", "prediction", "confidence"):
        table.add_column(heading)
    for sample in samples:
        answer = demo.ask("/predict", sample["request"])
        color = "green" if answer["prediction"] == sample["label"] else "red"
        table.add_row(
            str(len(sample["request"]["lines"])), str(answer["known_lines"]), sample["label"],
            f"[{color}]{answer['prediction']}[/]", f"{answer['confidence']:.3f}",
        )  # fmt: skip
    console.print(table)


def show(result: dict[str, Any]) -> None:
    table = Table(title="Retail MLOps demo", show_header=False)
    table.add_row("weeks", f"{result['weeks'][0]} to {result['weeks'][-1]} ({len(result['weeks'])})")
    table.add_row("rows, baskets", f"{result['rows']:,}, {result['baskets']:,}")
    table.add_row("test split", f"accuracy {result['accuracy']:.4f}, macro F1 {result['macro_f1']:.4f}")
    for name, (accuracy, macro_f1) in result["ladder"].items():
        table.add_row(f"  {name.replace('_', ' ')}", f"{accuracy:.3f} / {macro_f1:.3f}")
    table.add_row("model package", f"version {result['model_version']}, approved")
    table.add_row("bundle", result["bundle_digest"][:16] + "…")
    table.add_row("image", result["image"][:40] + "…")
    table.add_row("seconds", ", ".join(f"{name} {value:g}" for name, value in result["seconds"].items()))
    table.add_row("endpoint", f"{result['endpoint']}  (docs at /docs)")
    table.add_row("Airflow", f"{result['airflow_url']}  (user and password: make status)")
    console.print(table)


def life_cycle(demo: Demo, data: str | None, wait_for_person: bool) -> dict[str, Any]:
    began = time.monotonic()
    with demo.stage("data", "weekly files") as said:
        files = weekly_files(data, demo.stack.state)
        said.result = f"{len(files)} weeks"
    weeks = [file.week for file in files]
    with demo.stage("provision", "provision: network, lake, registry, identity, cluster") as said:
        finish(demo, said, "provision", demo.airflow.trigger("provision"))
    if demo.keys(lake.SCALED_DOWN):
        raise DemoError(f"the environment is scaled down: trigger scale_up at {demo.stack.airflow_url}, then again")
    with demo.stage("image", "images of the API and the jobs"):
        for name in (API_REPOSITORY, JOBS_REPOSITORY):
            images.push(demo.aws, demo.stack, images.build(name))
    with demo.stage("land", "raw files into the lake") as said:
        said.result = f"{len(land(demo.aws, demo.stack.aws_url, files))} new"
    with demo.stage("etl", "etl: raw → silver → gold") as said:
        transform(demo, said, weeks)
    with demo.stage("train", "train: fit, evaluate, gate, register, approve") as said:
        run = learn(demo, said, wait_for_person)
    with demo.stage("deploy", "deploy: release, rollout, verification") as said:
        release(demo, said, run)
    result, released = summary(demo, weeks)
    with demo.stage("predict", "predictions at the public endpoint"):
        show_baskets(demo, held_out(demo, released))
    demo.seconds["total"] = round(demo.seconds.get("up", 0) + time.monotonic() - began, 1)
    return result


def main() -> int:
    ran_before = subprocess.run(
        [sys.executable, "-m", "cli", "status"], cwd=config.ROOT, check=False, capture_output=True
    )
    began = time.monotonic()
    data = os.environ.get("DATA") or None
    try:
        if config.on_aws():
            raise DemoError(f"the demo needs the local stack, and the target is {config.TARGET}=aws")
        if data:
            weekly_files(data, config.state_dir())  # a wrong folder is told before anything starts
        start()
        stack = config.load()
        os.environ |= environment.retail(stack)
        demo = Demo(stack, Airflow(stack), session(stack), {"up": round(time.monotonic() - began, 1)})
        result = life_cycle(demo, data, os.environ.get("APPROVE") == "wait")
    except KeyboardInterrupt:
        if ran_before.returncode:
            console.print("\ninterrupted: taking down what the demo started")
            stop()
        return 130
    except (DemoError, IngestError, AirflowError, config.ConfigError) as error:
        console.print("[red]demo stopped:[/]", escape(str(error)))
        with contextlib.suppress(config.ConfigError):
            if supervisor.running(config.state_dir()):
                console.print("the local stack is still up: make status, make down")
        return 1
    (stack.state / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
