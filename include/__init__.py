"""Plain Python shared by DAGs, jobs and tests: no Airflow here, no AWS client at import."""
