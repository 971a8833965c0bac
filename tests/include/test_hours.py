"""The hours of the cost schedule: scheduled times, which of the two was last, hours of each local day."""

import datetime as dt

import pytest
from pydantic import ValidationError

from include import hours
from include.hours import ZONE, WeeklySchedule
from include.settings import Settings

NIGHTLY, WEEKDAYS = WeeklySchedule("22:00", "mon-sun"), WeeklySchedule("07:00", "mon-fri")


def local(day: int, hour: int, minute: int = 0) -> dt.datetime:
    """In the week of Monday, 2026-11-23."""
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("mon-sun", {0, 1, 2, 3, 4, 5, 6}),
        ("sat,sun", {5, 6}),
        ("fri-mon", {4, 5, 6, 0}),
        ("mon-tue,thu", {0, 1, 3}),
    ],
)
def test_weekdays_are_read_as_cron_names_them(days, numbers):
    assert WeeklySchedule("07:00", days).weekdays == numbers


def test_cron_has_minute_before_hour():
    assert WeeklySchedule("07:30", "mon-fri").cron == "30 7 * * mon-fri"


@pytest.mark.parametrize(
    ("now", "last", "following"),
    [
        (local(23, 7), local(23, 7), local(24, 7)),
        (local(23, 6, 59), dt.datetime(2026, 11, 20, 7, tzinfo=ZONE), local(23, 7)),
        (local(28, 12), local(27, 7), local(30, 7)),
    ],
)
def test_scheduled_times_skip_the_weekend(now, last, following):
    assert (WEEKDAYS.last(now), WEEKDAYS.next(now)) == (last, following)


def test_utc_is_another_day_and_gives_the_same_times():
    now = dt.datetime(2026, 11, 22, 23, 30, tzinfo=dt.UTC)  # Monday 06:30 here
    assert WEEKDAYS.next(now) == local(23, 7)
    assert NIGHTLY.last(now) == local(22, 22)


@pytest.mark.parametrize(
    ("now", "off"),
    [
        (local(25, 21, 59), False),
        (local(25, 22), True),
        (local(26, 6, 59), True),
        (local(26, 7), False),
        (local(28, 12), True),  # Saturday
        (local(29, 23), True),
        (local(30, 7), False),
    ],
)
def test_environment_is_off_at_night_and_over_the_weekend(now, off):
    assert hours.is_scheduled_off(now) is off


def test_hours_are_counted_in_the_local_day_they_belong_to():
    night = hours.hours_by_day(local(27, 22), local(30, 7).astimezone(dt.UTC))
    assert night == {
        dt.date(2026, 11, 27): 2.0,
        dt.date(2026, 11, 28): 24.0,
        dt.date(2026, 11, 29): 24.0,
        dt.date(2026, 11, 30): 7.0,
    }


def test_empty_interval_has_no_day():
    assert hours.hours_by_day(local(27, 22), local(27, 22)) == {}


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("scale_down_at", "24:00"),
        ("scale_down_at", "7:00"),
        ("scale_up_days", "1-5"),
        ("scale_up_days", "mon-wed-fri"),
        ("scale_up_days", "monday"),
        ("scale_up_days", ""),
        ("scale_up_at", "22:00"),  # the time of scale_down
    ],
)
def test_settings_refuse_what_is_no_schedule(name, wrong):
    with pytest.raises(ValidationError):
        Settings(**{name: wrong})
