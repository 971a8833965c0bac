"""The hours in which the environment is on: when it goes down and comes up, and how much of each day it was off.

All of it is local time (settings.TIMEZONE); arguments are aware datetimes of any zone.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from include.settings import TIMEZONE, settings

ZONE: Final = ZoneInfo(TIMEZONE)
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Moments:
    """A time of day on some weekdays: at `HH:MM`, days as cron names them (`mon-fri`, `sat,sun`, `mon-wed,fri`)."""

    at: str
    days: str

    @property
    def cron(self) -> str:
        hour, minute = self.at.split(":")
        return f"{int(minute)} {int(hour)} * * {self.days}"

    @property
    def weekdays(self) -> frozenset[int]:
        """Monday is 0. A range may run over the week's end (`fri-mon`). ValueError for what is no weekday."""
        found: set[int] = set()
        for part in self.days.split(","):
            first, _, last = part.partition("-")
            start, end = DAYS.index(first), DAYS.index(last or first)
            found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
        return frozenset(found)

    def _on(self, day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time.fromisoformat(self.at), ZONE)

    def last(self, now: dt.datetime) -> dt.datetime:
        """The newest moment that is not after now."""
        today = now.astimezone(ZONE).date()
        days = (today - dt.timedelta(days=ago) for ago in range(8))
        return next(self._on(day) for day in days if day.weekday() in self.weekdays and self._on(day) <= now)

    def next(self, now: dt.datetime) -> dt.datetime:
        """The first moment after now."""
        today = now.astimezone(ZONE).date()
        days = (today + dt.timedelta(days=ahead) for ahead in range(8))
        return next(self._on(day) for day in days if day.weekday() in self.weekdays and self._on(day) > now)


def down() -> Moments:
    """When scale_down runs."""
    return Moments(settings().scale_down_at, settings().scale_down_days)


def up() -> Moments:
    """When scale_up runs."""
    return Moments(settings().scale_up_at, settings().scale_up_days)


def are_off(now: dt.datetime) -> bool:
    """Whether the schedule wants the environment off: its newest moment was a down, not an up."""
    return down().last(now) > up().last(now)


def by_day(start: dt.datetime, end: dt.datetime) -> dict[dt.date, float]:
    """Hours of the interval in each local day that it touches; nothing when it is empty."""
    start, end = start.astimezone(ZONE), end.astimezone(ZONE)
    found: dict[dt.date, float] = {}
    while start < end:
        midnight = dt.datetime.combine(start.date() + dt.timedelta(days=1), dt.time(), ZONE)
        found[start.date()] = (min(end, midnight) - start).total_seconds() / 3600
        start = midnight
    return found
