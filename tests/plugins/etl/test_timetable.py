"""The fiscal calendar and the private methods of Airflow's timetable that carry it."""

import datetime as dt

import pendulum
import pytest
from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import TimeRestriction

from include.settings import TIMEZONE
from retail_mlops.etl.timetable import ShopWeekError, ShopWeekTimetable, monday_of, week_of


@pytest.fixture
def timetable():
    return ShopWeekTimetable.deserialize(ShopWeekTimetable("0 0 * * 1", timezone=TIMEZONE).serialize())


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (dt.date(2006, 2, 27), "200601"),
        (dt.date(2006, 4, 10), "200607"),
        (dt.date(2006, 4, 16), "200607"),
        (dt.date(2007, 2, 25), "200652"),
        (dt.date(2007, 2, 26), "200701"),
        (dt.date(2008, 2, 24), "200752"),
        (dt.date(2008, 2, 25), "200801"),
        (dt.date(2008, 7, 6), "200819"),
    ],
)
def test_week_of_a_day(day, week):
    assert week_of(day) == week


def test_every_week_of_the_data_has_its_monday_and_back():
    mondays = [dt.date(2006, 2, 27) + dt.timedelta(weeks=n) for n in range(123)]

    weeks = [week_of(monday) for monday in mondays]

    assert len(set(weeks)) == 123
    assert weeks[-1] == "200819"
    assert [monday_of(week) for week in weeks] == mondays


@pytest.mark.parametrize("day", [dt.date(2006, 2, 26), dt.date(2008, 7, 7)])
def test_days_outside_the_data_are_refused(day):
    with pytest.raises(ShopWeekError, match="outside the data"):
        week_of(day)


@pytest.mark.parametrize("key", ["200600", "200653", "200820", "200501", "2006-7", "", "200607\n"])
def test_keys_that_are_no_shop_week_are_refused(timetable, key):
    with pytest.raises(InvalidPartitionKeyError):
        timetable.resolve_partition_date(key)


def test_key_is_decoded_to_the_local_monday(timetable):
    assert timetable.resolve_partition_date("200607") == pendulum.datetime(2006, 4, 10, tz=TIMEZONE)


@pytest.mark.parametrize(
    ("first", "last", "weeks"),
    [
        (pendulum.datetime(2006, 4, 10), pendulum.datetime(2006, 4, 24), ["200607", "200608", "200609"]),
        (pendulum.datetime(2006, 4, 11), pendulum.datetime(2006, 4, 17), ["200608"]),
        (pendulum.datetime(2001, 1, 1), pendulum.datetime(2006, 3, 6), ["200601", "200602"]),
        (pendulum.datetime(2008, 6, 23), pendulum.datetime(2026, 1, 1), ["200818", "200819"]),
        (pendulum.datetime(2025, 1, 1), pendulum.datetime(2026, 1, 1), []),
    ],
)
def test_backfill_makes_one_run_a_week(timetable, first, last, weeks):
    runs = timetable.iter_partition_dagrun_infos(earliest=first, latest=last)

    assert [run.partition_key for run in runs] == weeks


def test_nothing_is_scheduled_after_the_data(timetable):
    restriction = TimeRestriction(
        earliest=pendulum.datetime(2006, 2, 27), latest=pendulum.datetime(2008, 7, 6), catchup=False
    )
    assert timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=restriction) is None
