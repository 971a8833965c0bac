"""What a task tells the person who reads its log.

Not by print: what is printed takes another way and may arrive after Airflow's own last lines, in a part of the log that
the UI shows closed.
"""

import logging
from typing import NoReturn

from airflow.sdk.exceptions import AirflowSkipException

_log = logging.getLogger("retail_mlops")


def say(text: str) -> None:
    """One or more lines of the task's log."""
    _log.info("%s", text)


def skip(reason: str) -> NoReturn:
    """Ends the task as skipped, for a reason that its log shows: Airflow's own line of it stands in a closed part."""
    say(reason)
    raise AirflowSkipException(reason)
