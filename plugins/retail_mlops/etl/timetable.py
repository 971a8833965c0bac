"""The retailer's fiscal calendar as an Airflow timetable: one run, one partition a shop week (YYYYWW)."""

import datetime as dt
from collections.abc import Iterable
from typing import Final

from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable
from pendulum import DateTime

from include import lake

FIRST_MONDAY: Final = {2006: dt.date(2006, 2, 27), 2007: dt.date(2007, 2, 26), 2008: dt.date(2008, 2, 25)}
"""First day of each fiscal year; from the data's own SHOP_DATE. The fiscal week is not the ISO week."""
LAST_DAY: Final = dt.date(2008, 7, 6)
"""Last day of the data, the Sunday of 200819."""


class ShopWeekError(ValueError):
    """A key or date outside the data's fiscal calendar."""


def week_of(day: dt.date) -> str:
    """Shop week YYYYWW of a day; ShopWeekError outside the calendar."""
    day = day.date() if isinstance(day, dt.datetime) else day
    year = max((year for year, monday in FIRST_MONDAY.items() if monday <= day), default=None)
    if year is None or day > LAST_DAY:
        raise ShopWeekError(f"{day} is outside the data: {FIRST_MONDAY[2006]} to {LAST_DAY}")
    return f"{year}{(day - FIRST_MONDAY[year]).days // 7 + 1:02d}"


def monday_of(week: str) -> dt.date:
    """First day of a shop week; ShopWeekError if the calendar has no such week."""
    try:
        lake.shop_week(week)
    except ValueError as error:
        raise ShopWeekError(str(error)) from None
    start = FIRST_MONDAY.get(int(week[:4]))
    day = start + dt.timedelta(weeks=int(week[4:]) - 1) if start else None
    if day is None or day > LAST_DAY or week_of(day) != week:
        raise ShopWeekError(f"the data has no shop week {week}: they run from 200601 to {week_of(LAST_DAY)}")
    return day


class ShopWeekTimetable(CronPartitionTimetable):
    """Weekly; the partition key is the shop week that begins on that Monday.

    `_format_key` and `_decode_partition_date` are private to Airflow (3.3.2 has no public place for a calendar of
    one's own): the version is pinned and tests/plugins/etl/test_timetable.py would notice a change.
    """

    description = "every Monday; the partition key is the shop week YYYYWW"

    @property
    def summary(self) -> str:
        return "weekly by shop week"

    def iter_partition_dagrun_infos(self, *, earliest: dt.datetime, latest: dt.datetime) -> Iterable[DagRunInfo]:
        """The weeks of a backfill; dates beyond the calendar ask for no runs instead of failing it."""
        first, last = FIRST_MONDAY[2006], LAST_DAY
        first, last = (dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC) for day in (first, last))
        return super().iter_partition_dagrun_infos(earliest=max(earliest, first), latest=min(latest, last))

    def _format_key(self, partition_date: DateTime) -> str:
        return week_of(partition_date.in_timezone(self._timezone))

    def _decode_partition_date(self, partition_key: str) -> dt.datetime:
        try:
            day = monday_of(partition_key)
        except ShopWeekError as error:
            raise InvalidPartitionKeyError(str(error)) from error
        return DateTime(day.year, day.month, day.day, tzinfo=self._timezone)
