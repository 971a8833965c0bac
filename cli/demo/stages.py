"""The stages of the demo, from weekly files to predictions."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from cli.airflow_client import FINISHED
from cli.console import console
from cli.demo.report import print_predictions, summary
from cli.demo.run import POLL_SECONDS, STAGE_TIMEOUT, Demo, DemoError, Stage
from cli.follow import active_tasks, failure
from cli.images import code_image
from cli.ingest import WeeklyFile, land, weekly_file
from include import lake
from include.settings import API_REPOSITORY, JOBS_REPOSITORY, settings
from local.stack import config
from local.stack.waiting import wait_until

SYNTHETIC_WEEKS = 12
HELD_OUT = 10
"""Baskets that are predicted at the end."""
ANSWER_DELAY = 2.5
"""Seconds between a question's appearance and its answer: an earlier one can fail the task (Airflow 3.3.2 queues the
resumed task while its supervisor still lingers for one heartbeat interval)."""
TRIGGER_TIMEOUT = 60
"""Seconds that the approval may take to start `deploy`."""


def life_cycle(demo: Demo, data: str | None, wait_for_person: bool) -> dict[str, Any]:
    """Run every stage and return the content of demo.json. data: folder of weekly files; None for synthetic ones."""
    started = time.monotonic()
    with demo.stage("data", "weekly files") as stage:
        files = weekly_files(data, demo.stack.state)
        stage.result = f"{len(files)} weeks"
    weeks = [file.week for file in files]
    with demo.stage("provision", "provision: network, lake, registry, identity, cluster") as stage:
        demo.finish(stage, "provision", demo.airflow.trigger("provision"))
    if demo.keys(lake.SCALED_DOWN):
        raise DemoError(f"the environment is scaled down: trigger scale_up at {demo.stack.airflow_url}, then try again")
    with demo.stage("image", "images of the API and the jobs"):
        for name in (API_REPOSITORY, JOBS_REPOSITORY):
            code_image.push(demo.aws, demo.stack, code_image.build(name))
    with demo.stage("land", "raw files into the lake") as stage:
        stage.result = f"{len(land(demo.client('s3'), files))} new"
    with demo.stage("etl", "etl: raw → silver → gold") as stage:
        build_gold(demo, stage, weeks)
    with demo.stage("train", "train: fit, evaluate, gate, register, approve") as stage:
        train_run = train(demo, stage, wait_for_person)
    with demo.stage("deploy", "deploy: release, rollout, verification") as stage:
        deploy(demo, stage, train_run)
    result, release = summary(demo, weeks)
    with demo.stage("predict", "predictions at the public endpoint"):
        print_predictions(demo, held_out_baskets(demo, release))
    demo.seconds["total"] = round(demo.seconds.get("up", 0) + time.monotonic() - started, 1)
    return result


def weekly_files(folder: str | None, state: Path) -> list[WeeklyFile]:
    """Return the weekly files of a folder; without a folder synthetic weeks, written once below the state folder."""
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


def build_gold(demo: Demo, stage: Stage, weeks: list[str]) -> None:
    """Run `etl` for every week without gold; a few runs go on at a time."""
    existing = demo.keys(lake.GOLD_MANIFESTS)
    missing = [week for week in weeks if lake.gold_manifest(week) not in existing]
    runs = {week: demo.airflow.trigger("etl", partition_key=week) for week in missing}
    done: set[str] = set()

    def all_done() -> bool:
        states = {run["dag_run_id"]: run["state"] for run in demo.airflow.runs("etl")}
        for week in runs.keys() - done:
            state = states[runs[week]]
            if state == "failed":
                raise DemoError(failure(demo.airflow, "etl", runs[week]))
            if state == "success":
                done.add(week)
        stage.show(f"{len(done)} of {len(runs)} weeks")
        return len(done) == len(runs)

    def error() -> DemoError:
        late = sorted(runs.keys() - done)
        return DemoError(f"etl of {late} not done after {STAGE_TIMEOUT} s: {demo.stack.airflow_url}")

    wait_until(all_done, STAGE_TIMEOUT, every=POLL_SECONDS, error=error)
    stage.result = f"{len(runs)} weeks built, {len(weeks) - len(runs)} existed"


def train(demo: Demo, stage: Stage, wait_for_person: bool) -> str:
    """Run `train`, answer its question or wait for a person who does, and return the run's id."""
    run = demo.airflow.trigger("train")

    def asks_or_ended() -> str | None:
        state = str(demo.airflow.run("train", run)["state"])
        if state in FINISHED:
            return state
        states = demo.airflow.states("train", run)
        stage.show(active_tasks(states))
        return "asks" if states.get("approve") == "awaiting_input" else None

    late = DemoError(f"train is not done after {STAGE_TIMEOUT} s: {demo.url('train', run)}")
    if wait_until(asks_or_ended, STAGE_TIMEOUT, every=POLL_SECONDS, error=lambda: late) == "asks":
        if wait_for_person:
            wait_for_answer(demo, stage, run)
        else:
            time.sleep(ANSWER_DELAY)
            demo.airflow.answer("train", run, "approve", "Approve", {"reason": "the demo's figures pass the gate"})
    demo.finish(stage, "train", run)
    return run


def wait_for_answer(demo: Demo, stage: Stage, run: str) -> None:
    """Print where the question is, and wait without a limit until a person has answered it."""
    console.print(f"approve or reject the model at {demo.url('train', run)}/tasks/approve")
    stage.show("waiting for a person")

    def is_answered() -> bool:
        return demo.airflow.states("train", run).get("approve") != "awaiting_input"

    wait_until(is_answered, float("inf"), every=POLL_SECONDS)


def deploy(demo: Demo, stage: Stage, train_run: str) -> None:
    """Wait for the run of `deploy` that the approval started; start one when nothing new was approved."""
    if demo.airflow.states("train", train_run)["announce"] == "success":
        run = deploy_run_of(demo, train_run)
    else:
        stage.show("no new model: deploy decides whether there is anything to do")
        run = demo.airflow.trigger("deploy")
    demo.finish(stage, "deploy", run)


def deploy_run_of(demo: Demo, train_run: str) -> str:
    """Return the run of `deploy` that the training run's event starts."""
    since = demo.airflow.run("train", train_run)["start_date"]

    def started() -> str | None:
        for run in demo.airflow.runs("deploy"):
            if run["run_type"] == "asset_triggered" and run["run_after"] >= since:
                return str(run["dag_run_id"])
        return None

    missing = DemoError(f"the approval did not start deploy: {demo.stack.airflow_url}/dags/deploy")
    return wait_until(started, TRIGGER_TIMEOUT, every=POLL_SECONDS, error=lambda: missing)


def held_out_baskets(demo: Demo, release: dict[str, Any]) -> list[dict[str, Any]]:
    """Return baskets of the test split with their true labels, as the evaluation kept them."""
    key = release["evidence_url"].split("/", 3)[3].rpartition("/")[0] + "/held_out.jsonl"
    body = demo.client("s3").get_object(Bucket=settings().bucket, Key=key)["Body"].read().decode()
    samples = [json.loads(line) for line in body.splitlines()]
    return [sample for sample in samples if sample["label"]][:HELD_OUT]
