"""What has to be over before the environment may go down, and whether a scheduled run comes too late. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from include import hours
from retail_mlops.common.scale_record import WAITING_TASK

UNFINISHED: Final = (
    None,
    "scheduled",
    "queued",
    "running",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
)
"""States of a task instance that has something left to do."""


def active_deploys(deploys: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Return the run ids of `deploy` that may have changed the cluster and have not finished.

    deploys: run id → task id → state. A run that still waits at its first task will see this run's claim before it
    changes anything; one whose first task is running now may have looked before the claim was there.
    """
    return sorted(
        run_id
        for run_id, states in deploys.items()
        if states.get(WAITING_TASK) in ("success", "running") and any(state in UNFINISHED for state in states.values())
    )


def active_rollouts(deployments: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of Deployments (camelCase) whose rollout has neither finished nor failed.

    Pods that have no node to run on do not count: they do not make a finished rollout unfinished.
    """
    return [deployment["metadata"]["name"] for deployment in deployments if _is_rolling_out(deployment)]


def _is_rolling_out(deployment: Mapping[str, Any]) -> bool:
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    reasons = {condition["type"]: condition.get("reason") for condition in status.get("conditions", [])}
    return reasons.get("Progressing") not in (None, "NewReplicaSetAvailable", "ProgressDeadlineExceeded")


def too_late(direction: Literal["down", "up"], now: dt.datetime) -> str:
    """Return why a scheduled run that starts now comes too late; "" when it does not.

    The schedule's newest moment counts, however late a run starts: Airflow may have been down.
    """
    off = hours.is_scheduled_off(now)
    if (direction == "down") == off:
        return ""
    newest = (hours.scale_down_schedule() if off else hours.scale_up_schedule()).last(now)
    following = (hours.scale_down_schedule() if direction == "down" else hours.scale_up_schedule()).next(now)
    return (
        f"too late: since {newest:%a %H:%M} the schedule wants the environment {'off' if off else 'on'} "
        f"(next scale_{direction}: {following:%a %Y-%m-%d %H:%M})"
    )
