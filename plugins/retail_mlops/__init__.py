"""What the Airflow providers lack, and the tasks of the DAGs."""
