"""Names that are unique to a run, and the same at every attempt to make the same resource."""

import hashlib
from typing import Protocol

from include.settings import settings

MAX_JOB_NAME = 63
"""SageMaker's limit for the names of training and processing jobs."""


class TaskInstance(Protocol):
    """What a name needs of Airflow's task instance."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int


def run_digest(dag_id: str, run_id: str, length: int = 10) -> str:
    """Return a short digest of a DAG run, for names that allow neither the length nor the characters of a run id."""
    return hashlib.sha256(f"{dag_id}/{run_id}".encode()).hexdigest()[:length]


def job_name(ti: TaskInstance, try_number: int | None = None) -> str:
    """Return the name of the SageMaker job of a task's try (default: its current one).

    `mlops-retail-<environment>-<dag>-<task>-<run>-<try>`.

    The same try always has the same name: a task that is started twice finds the job that it started, and a later try
    finds the jobs of the earlier ones.
    """
    prefix = settings().prefix
    tail = f"{run_digest(ti.dag_id, ti.run_id)}-{try_number or ti.try_number}"
    step = f"{ti.dag_id}-{ti.task_id}".replace("_", "-").replace(".", "-")
    return f"{prefix}{step[: MAX_JOB_NAME - len(prefix) - len(tail) - 1].rstrip('-')}-{tail}"


def release_id(version: int, ti: TaskInstance) -> str:
    """Return the id of a release, from the model's version and the run; valid as a label and a name in Kubernetes."""
    return f"v{version}-{run_digest(ti.dag_id, ti.run_id)}"
