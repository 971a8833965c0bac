"""Plugin tests run in Airflow's environment."""

import logging
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import airflow_env

airflow_env.prepare()


@pytest.fixture(autouse=True)
def task_log(caplog):
    """What tasks tell their log, in caplog.text."""
    caplog.set_level(logging.INFO, "retail_mlops")
