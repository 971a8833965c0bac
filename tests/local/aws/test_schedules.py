"""When a schedule of EventBridge Scheduler is due."""

from datetime import UTC, datetime, timedelta

import pytest

from local.aws import schedules

BACKSTOP = {
    "ScheduleExpression": "cron(30 22 * * ? *)",
    "ScheduleExpressionTimezone": "Asia/Ho_Chi_Minh",
    "State": "ENABLED",
}
HALF_PAST_TEN = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)  # in Vietnam
TICK = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("since", "due"),
    [
        (HALF_PAST_TEN - TICK, True),
        (HALF_PAST_TEN - TICK / 2, True),
        (HALF_PAST_TEN, False),  # the look before has seen it
        (HALF_PAST_TEN - 2 * TICK, False),
        (HALF_PAST_TEN + timedelta(hours=7), False),  # 22:30 in UTC
    ],
)
def test_a_schedule_is_due_once_in_its_own_time_zone(since, due):
    assert schedules.is_due(BACKSTOP, since, since + TICK) is due


def test_a_disabled_schedule_is_never_due():
    assert not schedules.is_due(BACKSTOP | {"State": "DISABLED"}, HALF_PAST_TEN - TICK, HALF_PAST_TEN)


def test_days_are_those_of_the_time_zone():
    friday = BACKSTOP | {"ScheduleExpression": "cron(15 0 ? * FRI *)"}
    thursday_in_utc = datetime(2026, 11, 26, 17, 15, tzinfo=UTC)
    assert schedules.is_due(friday, thursday_in_utc - TICK, thursday_in_utc)
