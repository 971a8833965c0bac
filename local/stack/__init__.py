"""The processes of the local stack: configuration, supervisor, Airflow, PostgreSQL, containers."""
