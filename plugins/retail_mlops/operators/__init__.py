"""Operators that the Airflow providers lack."""
