"""The one family of errors that the project's tasks raise."""

from airflow.sdk.exceptions import AirflowFailException


class RetailError(AirflowFailException):
    """Something that trying again cannot mend. The text says what was wrong, where, and what to do.

    Airflow does not retry it. A failure that may pass (AWS throttling, a lost connection) is left to be the
    exception that it was, and is retried.
    """
