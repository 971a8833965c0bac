"""Registers with Airflow what it must find by itself: the timetable of shop weeks, who hears of killed tasks."""

from airflow.plugins_manager import AirflowPlugin

from retail_mlops import listeners
from retail_mlops.timetables import ShopWeekTimetable


class RetailMLOpsPlugin(AirflowPlugin):
    name = "retail_mlops"
    timetables = [ShopWeekTimetable]  # noqa: RUF012 - Airflow reads a plain list
    listeners = [listeners]  # noqa: RUF012
