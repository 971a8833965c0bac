"""Airflow's logging configuration: task logs are read from their files, which all processes share.

Airflow's log servers would listen on every interface (no setting changes that in 3.3.2), so none runs; the reader of
a running task's log must not ask them. Named by AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS.
"""

import copy
from typing import Any

from airflow.config_templates.airflow_local_settings import DEFAULT_LOGGING_CONFIG
from airflow.utils.log.file_task_handler import FileTaskHandler


class SharedFiles(FileTaskHandler):  # type: ignore[misc] # Airflow is not in the environment of mypy
    """Reads task logs from files only."""

    def _read_from_logs_server(self, *_: Any) -> tuple[list[str], list[Any]]:
        return [], []


LOGGING_CONFIG = copy.deepcopy(DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = f"{__name__}.{SharedFiles.__name__}"
