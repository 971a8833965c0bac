"""Plugin tests run in Airflow's environment."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import airflow_env

airflow_env.prepare()
