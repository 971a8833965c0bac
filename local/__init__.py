"""The local stack: AWS, Kubernetes and Airflow on one machine, for people without an account or Docker."""
