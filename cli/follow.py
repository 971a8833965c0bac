"""Follow a DAG run to its end: what its tasks do, what they ask a person, why they failed or were skipped."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.airflow_client import FINISHED, Airflow, AirflowError
from cli.errors import CommandError
from local.stack.waiting import wait_until

ACTIVE = ("running", "queued", "deferred", "awaiting_input", "up_for_retry")
NOT_PRINTED = (None, "none", "scheduled", "queued", "running", "restarting")
"""States of a task that get no line: they pass by themselves, or their end gets one."""
DONE_WHEN_ASKED = {"train": "approve"}
"""DAG → the task whose question is the end of what a pipeline can do: a person answers it."""
RUN_TIMEOUT = 3 * 3600
"""Seconds that a run may take; a workflow's own timeout is shorter."""
POLL_SECONDS = 1.0
AIRFLOW_TIMEOUT = 90
"""Seconds for which Airflow may not answer while a run is followed: it may be restarting."""
LOG_TAIL = 12
SKIPPING = "Skipping task."
"""How Airflow introduces the reason of a skip in the task's log."""
SUMMARY = "GITHUB_STEP_SUMMARY"
"""Names the file whose Markdown GitHub shows with the run."""


class RunError(CommandError):
    """Says why there is no run, or why it failed, and where to look."""


# --- what a run does now ---
def run_url(airflow: Airflow, dag: str, run: str) -> str:
    """Return the page of a run in Airflow."""
    return f"{airflow.stack.airflow_url}/dags/{dag}/runs/{run}"


def active_tasks(states: dict[str, str | None]) -> str:
    """Return the names of the tasks that are at work, separated by commas."""
    return ", ".join(task for task, state in states.items() if state in ACTIVE)


def failure(airflow: Airflow, dag: str, run: str) -> str:
    """Return the failed tasks of a run, each with the tail of its log."""
    failed = [task["task_id"] for task in airflow.task_instances(dag, run) if task["state"] == "failed"]
    lines = [f"{dag} failed in {', '.join(failed) or 'no task'}: {run_url(airflow, dag, run)}"]
    for task in failed:
        log = [line for line in airflow.log(dag, run, task).splitlines() if "group::" not in line]
        lines += log[-LOG_TAIL:]
    return "\n".join(lines)


# --- pure ---
def configuration(text: str) -> dict[str, Any]:
    """Return the Params of a run from a JSON object, without empty values. Raise RunError for anything else."""
    try:
        params = json.loads(text or "{}")
    except ValueError as error:
        raise RunError(f"CONF is not JSON: {error}") from error
    if not isinstance(params, dict):
        raise RunError(f'CONF must be a JSON object, such as {{"force": true}}, and it is {text}')
    return {name: value for name, value in params.items() if value not in ("", None)}


def changes(before: dict[str, str], tasks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (task, state) for each task whose state gets a line and differs from `before`, which is brought up to date.

    In the order in which they ended or started.
    """
    for task in sorted(tasks, key=lambda task: (task["end_date"] or task["start_date"] or "9", task["task_id"])):
        name = task["task_id"]
        if task.get("map_index", -1) >= 0:
            name += f"[{task['map_index']}]"
        state = task["state"]
        if state in NOT_PRINTED or before.get(name) == state:
            continue
        before[name] = state
        yield name, state


def count_states(tasks: list[dict[str, Any]]) -> str:
    """Return how many tasks are in each state, as in `12 success, 3 skipped`."""
    states = [task["state"] or "not started" for task in tasks]
    ordered = sorted(set(states), key=lambda state: (state != "success", state))
    return ", ".join(f"{states.count(state)} {state}" for state in ordered)


# --- following ---
@dataclass
class Follower:
    """Follows one run, and gives each line about it to `report`."""

    airflow: Airflow
    dag: str
    run: str
    report: Callable[[str], None]
    states: dict[str, str] = field(default_factory=dict)
    answered: float = field(default_factory=time.monotonic)
    """When Airflow last answered."""

    @property
    def url(self) -> str:
        return run_url(self.airflow, self.dag, self.run)

    def follow(self, timeout: float) -> str:
        """Return how the run ended, in a sentence. Raise RunError when it failed or takes too long."""
        late = f"{self.dag} is not done after {timeout:g} s and goes on: {self.url}"
        return wait_until(self._end, timeout, every=POLL_SECONDS, error=lambda: RunError(late))

    def _end(self) -> str | None:
        """Report what changed; return the end in a sentence once there is one."""
        try:
            end = self._look()
        except AirflowError as error:  # it may be restarting; the run goes on without it
            if time.monotonic() - self.answered > AIRFLOW_TIMEOUT:
                raise RunError(f"{error}; {self.dag} is no longer followed: {self.url}") from error
            return None
        self.answered = time.monotonic()
        return end

    def _look(self) -> str | None:
        state = self.airflow.run(self.dag, self.run)["state"]
        tasks = self.airflow.task_instances(self.dag, self.run)
        for task, task_state in changes(self.states, tasks):
            if task_state == "awaiting_input":
                if end := self._ask(task):
                    return end
            else:
                self._report_state(task, task_state)
        if state == "failed":
            raise RunError(failure(self.airflow, self.dag, self.run))
        if state not in FINISHED:
            return None
        return "\n".join([f"{self.dag} succeeded: {count_states(tasks)}", *self._skip_reason(tasks)])

    def _report_state(self, task: str, state: str) -> None:
        self.report(f"{time.strftime('%H:%M:%S')}  {task:24} {state}")

    def _ask(self, task: str) -> str | None:
        """Report a task's question; return the end in a sentence when a pipeline has nothing more to do."""
        question = self._question(task)
        if question is None:
            del self.states[task]  # Airflow does not know the question yet: the next look reports both
            return None
        self._report_state(task, "awaiting_input")
        self.report(question)
        task_url = f"{self.url}/tasks/{task}"
        if DONE_WHEN_ASKED.get(self.dag) == task:
            return f"{self.dag} waits for a person, its model is PendingManualApproval: {task_url}"
        self.report(f"answer at {task_url}")
        return None

    def _question(self, task: str) -> str | None:
        """Return what a task asks, as Markdown, and add it to the workflow's summary; None while Airflow lacks it."""
        for asked in self.airflow.questions(self.dag, self.run):
            if asked["task_instance"]["task_id"] == task:
                question = f"## {asked['subject']}\n\n{asked['body'] or ''}\n"
                if path := os.environ.get(SUMMARY):
                    with Path(path).open("a") as summary:
                        summary.write(question)
                return question
        return None

    def _skip_reason(self, tasks: list[dict[str, Any]]) -> list[str]:
        """Return why the first task that skipped itself did so; those after it have no reason of their own."""
        skipped = [task for task in tasks if task["state"] == "skipped" and task["try_number"]]
        for task in sorted(skipped, key=lambda task: task["end_date"] or "9")[:1]:
            for line in self.airflow.log(self.dag, self.run, task["task_id"]).splitlines():
                if SKIPPING in line:
                    return [f"{task['task_id']} skipped: {line.partition(SKIPPING)[2].strip()}"]
        return []


def follow(airflow: Airflow, dag: str, run: str, report: Callable[[str], None], timeout: float = RUN_TIMEOUT) -> str:
    """Follow a run and return how it ended, in a sentence. Raise RunError when it failed or takes too long."""
    return Follower(airflow, dag, run, report).follow(timeout)
