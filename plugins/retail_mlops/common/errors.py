"""The one family of errors that the project's tasks raise."""

from airflow.sdk.exceptions import AirflowFailException


class RetailError(AirflowFailException):
    """An error that a retry cannot fix. The text says what is wrong, where, and what to do.

    Airflow does not retry the task. A failure that may pass (AWS throttling, a lost connection) keeps its own type and
    is retried.
    """
