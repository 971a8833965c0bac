"""What scale_down waits for, and when a scheduled run comes too late."""

import datetime as dt

import pytest

from include.hours import ZONE
from retail_mlops.schedule.preconditions import active_deploys, active_rollouts, too_late


def local(day, hour, minute=0):
    """In the week of Monday, 2026-11-23."""
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("tasks", "is_releasing"),
    [
        (
            {
                "wait_until_scaled_up": "success",
                "choose_release": "success",
                "apply_canary": "running",
                "record_release": None,
            },
            True,
        ),
        ({"wait_until_scaled_up": "success", "choose_release": "up_for_retry"}, True),
        ({"wait_until_scaled_up": "running", "choose_release": None}, True),  # it may have looked just before the claim
        ({"wait_until_scaled_up": "up_for_reschedule", "choose_release": None}, False),  # it waits for us
        ({"wait_until_scaled_up": None, "choose_release": None}, False),
        ({"wait_until_scaled_up": "success", "choose_release": "skipped", "record_release": "skipped"}, False),
        ({"wait_until_scaled_up": "success", "choose_release": "failed", "record_release": "upstream_failed"}, False),
        ({"wait_until_scaled_up": "failed", "choose_release": "upstream_failed"}, False),
    ],
)
def test_deploy_under_way_is_told_from_one_that_waits_or_is_over(tasks, is_releasing):
    assert active_deploys({"run": tasks}) == (["run"] if is_releasing else [])


def deployment(reason=None, generation=1, observed=1):
    conditions = [{"type": "Progressing", "status": "True", "reason": reason}] if reason else []
    return {
        "metadata": {"name": "retail-api", "generation": generation},
        "status": {"observedGeneration": observed, "conditions": conditions},
    }


@pytest.mark.parametrize(
    ("live", "is_rolling"),
    [
        (deployment("ReplicaSetUpdated"), True),
        (deployment("NewReplicaSetCreated"), True),
        (deployment("NewReplicaSetAvailable", generation=2), True),  # the controller has not looked yet
        (deployment("NewReplicaSetAvailable"), False),  # also when its pods have no node
        (deployment("ProgressDeadlineExceeded"), False),  # broken: no reason to let it cost money
        (deployment(), False),
    ],
)
def test_unfinished_rollout_is_waited_for_and_a_broken_one_is_not(live, is_rolling):
    assert bool(active_rollouts([live])) is is_rolling


@pytest.mark.parametrize(
    ("going", "now", "is_late"),
    [
        ("down", local(25, 22, 1), False),
        ("down", local(26, 3), False),  # Airflow was down at 22:00, the night is not over
        ("down", local(28, 9), False),  # Saturday: the weekend is still ahead
        ("down", local(26, 9), True),
        ("up", local(26, 7, 1), False),
        ("up", local(26, 12), False),
        ("up", local(26, 22, 5), True),
        ("up", local(28, 9), True),
    ],
)
def test_newest_moment_of_the_schedule_wins(going, now, is_late):
    assert bool(too_late(going, now)) is is_late


def test_late_run_says_since_when_and_when_next():
    assert too_late("down", local(26, 9)) == (
        "too late: since Thu 07:00 the schedule wants the environment on (next scale_down: Thu 2026-11-26 22:00)"
    )
