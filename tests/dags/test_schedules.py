"""When the DAGs run, over a whole year, in the zone that people read."""

import datetime as dt

import pendulum
import pytest
from airflow.serialization.serialized_objects import DagSerialization

LOCAL = "Asia/Ho_Chi_Minh"
YEAR = 2027
EVERY_DAY, WORKING_DAYS, MONDAYS = range(7), range(5), [0]


def days(weekdays):
    """The year's days that are one of these weekdays (Monday is 0)."""
    every = (dt.date(YEAR, 1, 1) + dt.timedelta(days=count) for count in range(365))
    return [day for day in every if day.weekday() in weekdays]


@pytest.fixture
def runs(bag, monkeypatch):
    """The runs that the scheduler makes of a DAG during the year, Airflow being up all the time; UTC."""

    def of(dag_id):
        dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags[dag_id]))
        found, last, now = [], None, pendulum.datetime(YEAR, 1, 1, tz=LOCAL)
        while True:
            monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: now)  # noqa: B023 - read at once
            last = dag.next_dagrun_info(last_automated_run_info=last)
            if last.run_after.in_timezone(LOCAL).year > YEAR:
                return found
            if last.run_after.in_timezone(LOCAL).year == YEAR:
                found.append(last.run_after)
            now = last.run_after.add(seconds=1)

    return of


@pytest.mark.parametrize(
    ("dag_id", "weekdays", "at", "utc"),
    [
        ("scale_down", EVERY_DAY, "22:00", "15:00"),
        ("scale_up", WORKING_DAYS, "07:00", "00:00"),
        ("train", MONDAYS, "02:00", "19:00"),
    ],
)
def test_runs_of_a_year(runs, dag_id, weekdays, at, utc):
    made = runs(dag_id)
    local = [moment.in_timezone(LOCAL) for moment in made]
    assert [moment.date() for moment in local] == days(weekdays)
    assert {moment.format("HH:mm") for moment in local} == {at}
    assert {moment.in_timezone("UTC").format("HH:mm") for moment in made} == {utc}


def test_monday_of_train_is_a_sunday_in_utc(runs):
    assert {moment.in_timezone("UTC").weekday() for moment in runs("train")} == {6}


def test_etl_has_a_run_a_local_monday_and_none_after_its_data(bag):
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags["etl"]))
    year = dag.timetable.iter_partition_dagrun_infos(
        earliest=pendulum.datetime(2007, 1, 1, tz=LOCAL), latest=pendulum.datetime(2007, 12, 31, 23, tz=LOCAL)
    )
    moments = [pendulum.instance(run.partition_date).in_timezone(LOCAL) for run in year]
    assert [moment.date() for moment in moments] == [
        dt.date(2007, 1, 1) + dt.timedelta(weeks=count) for count in range(53)
    ]
    assert {moment.format("HH:mm") for moment in moments} == {"00:00"}
    assert dag.next_dagrun_info(last_automated_run_info=None) is None


@pytest.mark.parametrize("dag_id", ["provision", "deploy"])
def test_the_rest_has_no_schedule_of_time(bag, dag_id):
    assert not hasattr(bag.dags[dag_id].timetable, "expression")


@pytest.mark.parametrize("dag_id", ["scale_down", "scale_up"])
def test_moment_that_airflow_missed_gets_one_run_also_the_very_first(bag, monkeypatch, dag_id):
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags[dag_id]))
    thursday = pendulum.datetime(2026, 11, 26, 9, tz=LOCAL)
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: thursday)
    missed = {"scale_down": "2026-11-25 22:00", "scale_up": "2026-11-26 07:00"}[dag_id]

    first = dag.next_dagrun_info(last_automated_run_info=None)
    following = dag.next_dagrun_info(last_automated_run_info=first)

    assert first.run_after.in_timezone(LOCAL).format("YYYY-MM-DD HH:mm") == missed
    assert following.run_after > thursday  # no storm: the nights before are not made up for
