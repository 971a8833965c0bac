"""Airflow without containers: PostgreSQL from a wheel, four processes on loopback, and a client of the REST API."""
