"""Clients of AWS and the cluster: what the Airflow providers lack."""
