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


@pytest.fixture
def waits_in_task(monkeypatch):
    """Tasks wait themselves for jobs and stacks, at most five seconds; a poll takes no time."""
    from include.settings import settings

    monkeypatch.setenv("RETAIL_WAIT_IN_TASK_SECONDS", "5")
    settings.cache_clear()
    for module in ("cloudformation", "sagemaker"):
        monkeypatch.setattr(f"retail_mlops.operators.{module}.POLL_IN_TASK", 0)
    yield
    monkeypatch.undo()
    settings.cache_clear()
