"""When a resource is paid: the scenarios of the cost page and the hours of a month in each of them."""

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from include import hours
from include.costs import HOURS_A_MONTH

WEEKS_A_MONTH: Final = HOURS_A_MONTH / 168
DEMO_HOURS: Final = 3


class Scenario(StrEnum):
    """A column of the page: how long the environment exists and is up in a month."""

    ALWAYS = "always on"
    SCHEDULE = "schedule"
    DEMO = f"demo {DEMO_HOURS} h"
    KEPT = "torn down, data kept"
    GONE = "torn down"


class Lives(StrEnum):
    """When a resource is paid: what scale_down removes, what teardown removes, what keep_data leaves."""

    WHILE_UP = "while the environment is up"
    WHILE_THERE = "from provision to teardown"
    DATA = "also after a teardown with keep_data"


def hours_up_a_week() -> float:
    """Return the hours of a week in which the cost schedule keeps the environment up."""
    now = dt.datetime(2026, 1, 5, tzinfo=hours.ZONE)  # any week: the zone has no summer time
    end = now + dt.timedelta(weeks=1)
    up = dt.timedelta()
    while now < end:
        following = min(hours.scale_down_schedule().next(now), hours.scale_up_schedule().next(now), end)
        up += dt.timedelta() if hours.is_scheduled_off(now) else following - now
        now = following
    return up / dt.timedelta(hours=1)


def hours_paid(lives: Lives) -> dict[Scenario, float]:
    """Return the hours of a month in which such a resource is paid, in each scenario."""
    paid: dict[Scenario, float] = {
        Scenario.ALWAYS: HOURS_A_MONTH,
        Scenario.SCHEDULE: HOURS_A_MONTH,
        Scenario.DEMO: DEMO_HOURS,
        Scenario.KEPT: 0,
        Scenario.GONE: 0,
    }
    if lives is Lives.WHILE_UP:
        paid[Scenario.SCHEDULE] = hours_up_a_week() * WEEKS_A_MONTH
    if lives is Lives.DATA:
        paid[Scenario.KEPT] = HOURS_A_MONTH
    return paid


@dataclass(frozen=True)
class Line:
    """A row of the table: USD a month in each scenario, and how it was counted."""

    what: str
    quantity: str
    usd_an_hour: float
    usd: dict[Scenario, float]


def line(what: str, quantity: str, lives: Lives, usd_an_hour: float) -> Line:
    """Return the row of a resource that is paid by the hour."""
    paid = hours_paid(lives)
    return Line(what, quantity, usd_an_hour, {scenario: paid[scenario] * usd_an_hour for scenario in Scenario})
