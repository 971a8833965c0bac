"""How the project's tasks end early: with the one family of errors that they raise, or skipped with a reason."""

from typing import NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException


class RetailError(AirflowFailException):
    """Something that trying again cannot mend. The text says what was wrong, where, and what to do.

    Airflow does not retry it. A failure that may pass (AWS throttling, a lost connection) is left to be the
    exception that it was, and is retried.
    """


def skip(reason: str) -> NoReturn:
    """Ends the task as skipped. Airflow itself shows the reason only inside a collapsed part of the log."""
    print(reason)
    raise AirflowSkipException(reason)
