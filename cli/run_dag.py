"""Runs one DAG to its end and says how it goes: `make run DAG=train CONF='{"force": true}'`.

`run` asks the Airflow that is up. `once` starts an Airflow for this run alone, with no other DAG in it, and takes it
down afterwards: what a workflow on GitHub does, with MLOPS_TARGET=aws. A run that waits for a person goes on waiting,
but for `train`: its work is done when its model is registered as PendingManualApproval.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cli.airflow_client import FINISHED, Airflow, AirflowError
from local.stack import config, supervisor

LIVING = ("running", "queued", "deferred", "awaiting_input", "up_for_retry")
QUIET = (None, "none", "scheduled", "queued", "running", "restarting")
"""States of a task that are not worth a line: they pass by themselves, or their end is told."""
DONE_WHEN_ASKED = {"train": "approve"}
"""DAG → the task whose question is the end of what a pipeline can do: a person answers it."""
PATIENCE = 3 * 3600
"""Seconds that a run may take; a workflow's own timeout is shorter."""
TICK = 1.0
SILENCE = 90
"""Seconds that Airflow may not answer while a run is followed."""
LAST_LINES = 12
SKIPPING = "Skipping task."
"""How Airflow introduces the reason of a skip in the task's log."""
SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub shows with the run."""


class RunError(Exception):
    """Why there is no run, or why it failed, and where to look."""


# --- what a run is at (the demo says it, too) ---
def where(airflow: Airflow, dag: str, run: str) -> str:
    return f"{airflow.stack.airflow_url}/dags/{dag}/runs/{run}"


def now_running(airflow: Airflow, dag: str, run: str) -> str:
    return ", ".join(task["task_id"] for task in airflow.task_instances(dag, run) if task["state"] in LIVING)


def why_failed(airflow: Airflow, dag: str, run: str) -> str:
    """The failed tasks and their last words."""
    failed = [task["task_id"] for task in airflow.task_instances(dag, run) if task["state"] == "failed"]
    lines = [f"{dag} failed in {', '.join(failed) or 'no task'}: {where(airflow, dag, run)}"]
    for task in failed:
        words = [line for line in airflow.log(dag, run, task).splitlines() if "group::" not in line]
        lines += words[-LAST_LINES:]
    return "\n".join(lines)


# --- pure ---
def configuration(text: str) -> dict[str, Any]:
    """The Params of a run from a JSON object; values that were left empty are left out. RunError if it is none."""
    try:
        found = json.loads(text or "{}")
    except ValueError as error:
        raise RunError(f"CONF is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f'CONF must be a JSON object, such as {{"force": true}}; it is {text}')
    return {name: value for name, value in found.items() if value not in ("", None)}


def changes(before: dict[str, str], tasks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(task, state) of the tasks whose state is worth a line and was another one `before`, which is brought up to date.

    In the order in which they ended or began.
    """
    for task in sorted(tasks, key=lambda one: (one["end_date"] or one["start_date"] or "9", one["task_id"])):
        name, state = task["task_id"], task["state"]
        if task.get("map_index", -1) >= 0:
            name += f"[{task['map_index']}]"
        if state in QUIET or before.get(name) == state:
            continue
        before[name] = state
        yield name, state


# --- following ---
def follow(airflow: Airflow, dag: str, run: str, say: Callable[[str], None], patience: float = PATIENCE) -> str:
    """The run's end, in a sentence, with a line for each task on the way. RunError when it fails or takes too long."""
    until, seen, answered = time.monotonic() + patience, dict[str, str](), time.monotonic()
    while True:
        try:
            if end := _look(airflow, dag, run, seen, say):
                return end
            answered = time.monotonic()
        except AirflowError as error:  # it may be restarting: the run does not mind
            if time.monotonic() - answered > SILENCE:
                raise RunError(f"{error}; {dag} is no longer followed: {where(airflow, dag, run)}") from error
        if time.monotonic() > until:
            raise RunError(f"{dag} is not done after {patience:g} s and goes on: {where(airflow, dag, run)}")
        time.sleep(TICK)


def _look(airflow: Airflow, dag: str, run: str, seen: dict[str, str], say: Callable[[str], None]) -> str | None:
    """Tell what has changed; the end in a sentence, if this is the end."""
    state, tasks = airflow.run(dag, run)["state"], airflow.task_instances(dag, run)
    for task, is_now in changes(seen, tasks):
        question = _question(airflow, dag, run, task) if is_now == "awaiting_input" else ""
        if question is None:
            del seen[task]  # it waits already, its question is still on the way: the next look tells both
            continue
        say(f"{time.strftime('%H:%M:%S')}  {task:24} {is_now}")
        if question:
            say(question)
            there = f"{where(airflow, dag, run)}/tasks/{task}"
            if DONE_WHEN_ASKED.get(dag) == task:
                return f"{dag} waits for a person, its model is PendingManualApproval: {there}"
            say(f"answer at {there}")
    if state == "failed":
        raise RunError(why_failed(airflow, dag, run))
    if state not in FINISHED:
        return None
    counts = ", ".join(f"{count} {what}" for what, count in _counts(tasks).items())
    return "\n".join([f"{dag} succeeded: {counts}", *_why_skipped(airflow, dag, run, tasks)])


def _question(airflow: Airflow, dag: str, run: str, task: str) -> str | None:
    """What a task asks, as Markdown, also for the summary that a person reads; None while Airflow does not know."""
    asked = [one for one in airflow.questions(dag, run) if one["task_instance"]["task_id"] == task]
    if not asked:
        return None
    question = f"## {asked[0]['subject']}\n\n{asked[0]['body'] or ''}\n"
    if path := os.environ.get(SUMMARY):
        with Path(path).open("a") as summary:
            summary.write(question)
    return question


def _why_skipped(airflow: Airflow, dag: str, run: str, tasks: list[dict[str, Any]]) -> list[str]:
    """Why the first task that was left out by its own word was; those after it say nothing."""
    skipped = [task for task in tasks if task["state"] == "skipped" and task["try_number"]]
    for task in sorted(skipped, key=lambda one: one["end_date"] or "9")[:1]:
        for line in airflow.log(dag, run, task["task_id"]).splitlines():
            if SKIPPING in line:
                return [f"{task['task_id']} skipped: {line.partition(SKIPPING)[2].strip()}"]
    return []


def _counts(tasks: list[dict[str, Any]]) -> dict[str, int]:
    states = [task["state"] or "not started" for task in tasks]
    return {state: states.count(state) for state in sorted(set(states), key=lambda one: (one != "success", one))}


# --- the commands ---
def dags() -> list[str]:
    return sorted(path.stem for path in (config.ROOT / "dags").glob("[a-z]*.py"))


def known(dag: str) -> str:
    if dag not in dags():
        raise RunError(f"which DAG? make run DAG=…, one of {', '.join(dags())}")
    return dag


def run(stack: config.LocalStack, dag: str, conf: str) -> None:
    """Start a run in the Airflow that is up, and follow it. RunError as `follow`."""
    known(dag)
    params, airflow = configuration(conf), Airflow(stack)
    if airflow.call("GET", f"/dags/{dag}")["is_paused"]:
        raise RunError(f"{dag} is paused, and a paused DAG runs nothing: unpause it in the UI, {stack.airflow_url}")
    try:
        _start(airflow, dag, params)
    except KeyboardInterrupt:
        print("no longer followed: the run goes on", flush=True)
        raise


def _start(airflow: Airflow, dag: str, params: dict[str, Any]) -> None:
    identity = airflow.trigger(dag, params)
    print(f"{dag}: {where(airflow, dag, identity)}", flush=True)
    print(follow(airflow, dag, identity, lambda line: print(line, flush=True)), flush=True)


def once(
    stack: config.LocalStack,
    dag: str,
    conf: str,
    up: Callable[[config.LocalStack], None],
    down: Callable[[config.LocalStack], None],
) -> None:
    """The same in an Airflow of its own, started by `up` and taken down by `down` whatever happens."""
    known(dag)
    params = configuration(conf)
    if supervisor.running(stack.state):
        raise RunError(f"an Airflow is up in {stack.state}: `make run` runs the DAG there; or name another LOCAL_STATE")
    os.environ[config.ONLY_DAG] = dag
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how a cancelled job is told: down comes first
    try:
        up(stack)
        _start(_parsed(Airflow(stack), dag), dag, params)
    finally:
        down(stack)


def _parsed(airflow: Airflow, dag: str, patience: float = 60) -> Airflow:
    """When Airflow has read the DAG. RunError with the reason when it cannot."""
    until = time.monotonic() + patience
    while dag not in airflow.dag_ids():
        if time.monotonic() > until:
            raise RunError("\n".join([f"Airflow does not know {dag} yet", *airflow.import_errors().values()]))
        time.sleep(TICK)
    return airflow
