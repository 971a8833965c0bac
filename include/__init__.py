"""Plain Python that DAGs, jobs and tests share: no Airflow, and no AWS client at import."""
