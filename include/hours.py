"""The hours of the cost schedule: when the environment is scaled down and up, and how long it was off each day.

Schedules are in local time (settings.TIMEZONE). Arguments are aware datetimes of any time zone.
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
class WeeklySchedule:
    """A time of day on some weekdays. at: `HH:MM`. days: as in cron (`mon-fri`, `sat,sun`, `mon-wed,fri`)."""

    at: str
    days: str

    @property
    def cron(self) -> str:
        """The schedule as a cron expression, in local time."""
        hour, minute = self.at.split(":")
        return f"{int(minute)} {int(hour)} * * {self.days}"

    @property
    def weekdays(self) -> frozenset[int]:
        """The days as numbers, Monday is 0. A range may cross the end of the week (`fri-mon`). ValueError otherwise."""
        numbers: set[int] = set()
        for part in self.days.split(","):
            first, _, last = part.partition("-")
            start = DAYS.index(first)
            end = DAYS.index(last or first)
            numbers |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
        return frozenset(numbers)

    def _on(self, day: dt.date) -> dt.datetime:
        return dt.datetime.combine(day, dt.time.fromisoformat(self.at), ZONE)

    def last(self, now: dt.datetime) -> dt.datetime:
        """Return the latest scheduled time that is not after now."""
        today = now.astimezone(ZONE).date()
        days = (today - dt.timedelta(days=number) for number in range(8))
        return next(self._on(day) for day in days if day.weekday() in self.weekdays and self._on(day) <= now)

    def next(self, now: dt.datetime) -> dt.datetime:
        """Return the first scheduled time after now."""
        today = now.astimezone(ZONE).date()
        days = (today + dt.timedelta(days=number) for number in range(8))
        return next(self._on(day) for day in days if day.weekday() in self.weekdays and self._on(day) > now)


def scale_down_schedule() -> WeeklySchedule:
    """Return the schedule of scale_down."""
    return WeeklySchedule(settings().scale_down_at, settings().scale_down_days)


def scale_up_schedule() -> WeeklySchedule:
    """Return the schedule of scale_up."""
    return WeeklySchedule(settings().scale_up_at, settings().scale_up_days)


def is_scheduled_off(now: dt.datetime) -> bool:
    """Return whether the environment is scheduled to be off: the last scale-down is later than the last scale-up."""
    return scale_down_schedule().last(now) > scale_up_schedule().last(now)


def hours_by_day(start: dt.datetime, end: dt.datetime) -> dict[dt.date, float]:
    """Return the hours of an interval by local day; {} when end is not after start."""
    start = start.astimezone(ZONE)
    end = end.astimezone(ZONE)
    hours_of: dict[dt.date, float] = {}
    while start < end:
        midnight = dt.datetime.combine(start.date() + dt.timedelta(days=1), dt.time(), ZONE)
        hours_of[start.date()] = (min(end, midnight) - start).total_seconds() / 3600
        start = midnight
    return hours_of
