"""Registers with Airflow what it must find by class name: the timetable of shop weeks."""

from airflow.plugins_manager import AirflowPlugin

from retail_mlops.timetables import ShopWeekTimetable


class RetailMLOpsPlugin(AirflowPlugin):
    name = "retail_mlops"
    timetables = [ShopWeekTimetable]  # noqa: RUF012 - Airflow reads a plain list
