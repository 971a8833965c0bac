"""Ends a task as skipped, with a reason that its log shows."""

import logging
from typing import NoReturn

from airflow.sdk.exceptions import AirflowSkipException

log = logging.getLogger(__name__)


def skip_task(reason: str) -> NoReturn:
    """Raise AirflowSkipException after logging the reason: the UI folds away the line that Airflow itself logs."""
    log.info("Skipped: %s", reason)
    raise AirflowSkipException(reason)
