"""`make demo`: the whole life cycle, driven as a user would: Airflow's REST API, S3 and HTTP, nothing else."""
