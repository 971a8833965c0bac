"""The defaults of every DAG: owner, tags, retries, failure notification; and the assets between the DAGs."""

import datetime as dt
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import pendulum
from airflow.sdk import Asset, dag

from include.settings import TIMEZONE, settings
from retail_mlops.common.notifications import notify_failure

ROOT: Final = Path(__file__).resolve().parents[3]
"""The folder of the repository, which holds infra/ and k8s/."""
ADMIN: Final = "aws_admin"
"""Connection of the person who owns the account's resources, for provision and teardown."""
AIRFLOW: Final = "aws_default"
"""Connection that assumes the role of the identity stack, for everything else."""


class Tag(StrEnum):
    """The tags that a DAG may have."""

    PLATFORM = "platform"
    DATA = "data"
    MODEL = "model"
    RELEASE = "release"
    COST = "cost"


GOLD: Final = Asset(name="gold", uri=f"s3://{settings().bucket}/gold/", group="lake")
APPROVED_MODEL: Final = Asset(name="approved_model", uri="retail://models/price-sensitivity/approved", group="models")


def local_midnight(year: int, month: int, day: int) -> pendulum.DateTime:
    return pendulum.datetime(year, month, day, tz=TIMEZONE)


def retail_dag(
    *, tags: list[Tag], is_paused_upon_creation: bool = False, **options: Any
) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """Return `airflow.sdk.dag` with the project's defaults; the function's name is the DAG's id.

    Tasks are retried with a back-off, for each can be repeated safely. A RetailError is never retried.
    """
    return dag(
        tags=[str(tag) for tag in tags],
        catchup=False,
        on_failure_callback=notify_failure,
        default_args={
            "owner": settings().owner,
            "retries": 2,
            "retry_delay": dt.timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": dt.timedelta(minutes=5),
        },
        is_paused_upon_creation=is_paused_upon_creation,
        **options,
    )
