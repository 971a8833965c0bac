"""What the settings give to the templates' parameters, and the schedule in the words of AWS."""

import pytest

from include.settings import settings
from retail_mlops.common import stack_parameters as parameters

ADMIN = "arn:aws:iam::123456789012:user/mlops-retail-bootstrap"


@pytest.fixture
def given(monkeypatch):
    """Sets RETAIL_* variables."""

    def set_to(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"RETAIL_{name}", value)
        settings.cache_clear()

    yield set_to
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize(
    ("at", "days", "cron"),
    [
        ("22:00", "mon-sun", "cron(30 22 * * ? *)"),
        ("22:00", "mon-fri", "cron(30 22 ? * MON,TUE,WED,THU,FRI *)"),
        ("23:45", "fri-sun", "cron(15 0 ? * MON,SAT,SUN *)"),
    ],
)
def test_backstop_comes_half_an_hour_after_scale_down(given, at, days, cron):
    given(SCALE_DOWN_AT=at, SCALE_DOWN_DAYS=days)
    assert parameters.backstop_cron() == cron


def test_another_address_gives_the_budget_another_name(given):
    def name():
        return parameters.values(ADMIN)["BudgetName"]

    before = name()
    given(ALERT_EMAIL="team@example.org")
    assert before != name()
    assert name().startswith("mlops-retail-dev-monthly-")


def after_hours(day, hour):
    """The alarm's expression as CloudWatch works it out; day: Monday is 1, hour: UTC."""
    text = parameters.after_hours().replace("DAY(requests)", str(day)).replace("HOUR(requests)", str(hour))
    return eval(text.replace("AND", "and").replace("OR", "or").replace("requests", "1"))  # noqa: S307 - our own words


@pytest.mark.parametrize(
    ("day", "hour", "off"),
    [
        (1, 14, False),  # Monday 21:00 in Vietnam
        (1, 15, False),  # 22:00: scale_down works
        (1, 16, True),
        (2, 0, False),  # Tuesday 07:00
        (6, 5, True),  # Saturday
        (7, 23, True),  # Monday 06:00 in Vietnam
    ],
)
def test_after_hours_are_those_of_the_schedule(day, hour, off):
    assert after_hours(day, hour) is off


def test_after_hours_fit_into_an_alarm(given):
    given(SCALE_DOWN_AT="22:30", SCALE_UP_AT="07:45", SCALE_UP_DAYS="mon-sun")
    assert len(f"IF({parameters.after_hours()}, requests, 0)") <= 1024


@pytest.mark.parametrize(
    ("setting", "replaced"),
    [({"NODE_INSTANCE_TYPES": "t3.large"}, True), ({"NODE_CAPACITY": "ON_DEMAND"}, True), ({"NODE_COUNT": "5"}, False)],
)
def test_what_replaces_the_node_group_gives_it_another_name(given, setting, replaced):
    before = parameters.values(ADMIN)["NodegroupName"]
    given(**setting)
    assert (parameters.values(ADMIN)["NodegroupName"] != before) is replaced
