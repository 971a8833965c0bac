"""Registers with Airflow what it must find by itself: the timetable of shop weeks, who hears of killed tasks."""

from airflow.plugins_manager import AirflowPlugin

from retail_mlops.common import killed_tasks as listeners
from retail_mlops.etl.timetable import ShopWeekTimetable


class RetailMLOpsPlugin(AirflowPlugin):
    name = "retail_mlops"
    timetables = [ShopWeekTimetable]  # noqa: RUF012 - Airflow reads a plain list
    listeners = [listeners]  # noqa: RUF012
