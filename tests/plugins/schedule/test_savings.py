"""Hours off and money saved: by the price table, by local day, planned first and actual later."""

import datetime as dt

from include import costs
from include.costs import Kind
from include.hours import ZONE
from retail_mlops.common.scale_record import Phase, Record, Saving, State
from retail_mlops.schedule.running_resources import Balancer, Instance
from retail_mlops.schedule.savings import daily_costs, hourly_savings, is_published, time_off

UP = State(release="v3-abc")


def local(day, hour, minute=0):
    """In the week of Monday, 2026-11-23."""
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


def test_savings_follow_the_price_table():
    node = Instance(id="i-1", type="t3.medium", state="running")
    savings = hourly_savings([node, node, node.model_copy(update={"spot": True})], [Balancer(name="a", addresses=2)])
    assert {(saving.what, saving.count): saving.usd_per_hour for saving in savings} == {
        ("EC2 t3.medium", 2): costs.hourly(Kind.EC2_INSTANCE, "t3.medium", 2),
        ("EC2 t3.medium Spot", 1): costs.hourly(Kind.EC2_INSTANCE, "t3.medium", 1, spot=True),
        ("load balancer", 1): costs.hourly(Kind.LOAD_BALANCER),
        ("public IPv4 address", 2): costs.hourly(Kind.PUBLIC_IPV4, count=2),
    }


def test_unknown_price_is_named_and_stops_nothing():
    [saving] = hourly_savings([Instance(id="i-1", type="x9.huge", state="running")], [])
    assert saving.usd_per_hour == 0
    assert "x9.huge" in saving.note


def off(**changes):
    """Off since Friday 22:00, planned until Monday 07:00, at 0.5 USD an hour."""
    planned = Record(
        phase=Phase.DOWN,
        owner="scale_down/1",
        state=UP,
        savings=(Saving(what="EC2 t3.medium", count=3, usd_per_hour=0.5),),
        off_since=local(27, 22),
        planned_until=local(30, 7),
    )
    return planned.model_copy(update=changes)


def accounts(*records):
    """day of the month → its file after these records were published one after another."""
    files = {}
    for record in records:
        period = time_off(record)
        for day in period.days:
            files[day.day] = daily_costs(files.get(day.day), period, day)
    return files


def test_each_local_day_has_its_own_hours():
    files = accounts(off())
    assert {day: (file["hours_off"], file["saved_usd"]) for day, file in files.items()} == {
        27: (2, 1),
        28: (24, 12),
        29: (24, 12),
        30: (7, 3.5),
    }
    assert {entry["basis"] for file in files.values() for entry in file["off"]} == {"planned"}


def test_actual_hours_replace_the_planned_ones():
    files = accounts(off(), off(on_since=local(28, 10), phase=Phase.COMING_UP, owner="scale_up/1"))
    assert {day: file["hours_off"] for day, file in files.items()} == {27: 2, 28: 10, 29: 0, 30: 0}
    assert {entry["basis"] for file in files.values() for entry in file["off"]} == {"actual"}


def test_hours_beyond_the_plan_count_too():
    files = accounts(off(), off(on_since=local(30, 9)))
    assert files[30]["hours_off"] == 9


def test_time_off_that_somebody_ended_at_an_unknown_time_is_taken_back():
    files = accounts(off(), off(on_since=local(27, 22)))
    assert {file["hours_off"] for file in files.values()} == {0}


def test_publishing_twice_counts_once():
    assert accounts(off(), off(), off()) == accounts(off())


def test_two_times_off_on_a_day_are_added():
    noon = off(off_since=local(27, 12), planned_until=local(27, 15), on_since=local(27, 14))
    assert accounts(noon, off())[27]["hours_off"] == 4


def test_hours_are_published_once_they_are_actual():
    planned, actual = off(), off(on_since=local(30, 7))
    assert not is_published(None, time_off(actual))
    assert not is_published(accounts(planned)[27], time_off(actual))
    assert is_published(accounts(planned, actual)[27], time_off(actual))


def test_time_off_without_a_known_beginning_is_not_counted():
    assert time_off(off(off_since=None)) is None


def test_file_names_the_prices_it_was_counted_with():
    file = accounts(off())[27]
    assert (file["date"], file["prices"]["date"]) == ("2026-11-27", costs.prices().date)
