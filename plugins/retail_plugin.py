"""Registers with Airflow: the timetable of shop weeks, and the listener that stops the jobs of killed tasks."""

from airflow.plugins_manager import AirflowPlugin

from retail_mlops.common import killed_tasks
from retail_mlops.etl.timetable import ShopWeekTimetable


class RetailMLOpsPlugin(AirflowPlugin):
    name = "retail_mlops"
    timetables = [ShopWeekTimetable]  # noqa: RUF012 - Airflow reads a plain list
    listeners = [killed_tasks]  # noqa: RUF012
