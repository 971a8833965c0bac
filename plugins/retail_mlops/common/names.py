"""Names that are unique to a run and the same at every attempt to make the same thing."""

import hashlib
from typing import Protocol

from include.settings import settings

LONGEST_JOB_NAME = 63
"""SageMaker's limit for the names of training and processing jobs."""


class TaskInstance(Protocol):
    dag_id: str
    run_id: str
    task_id: str
    try_number: int


def run_digest(dag_id: str, run_id: str, length: int = 10) -> str:
    """A short digest of a DAG run, for names that allow neither the length nor the characters of a run id."""
    return hashlib.sha256(f"{dag_id}/{run_id}".encode()).hexdigest()[:length]


def job_name(ti: TaskInstance, try_number: int | None = None) -> str:
    """The SageMaker job of a task's try (its present one): `mlops-retail-<environment>-<dag>-<task>-<run>-<try>`.

    The same try always has the same name, so that a task that is started twice finds the job it started, and a later
    try can look for the jobs of the earlier ones.
    """
    ours = settings().prefix
    tail = f"{run_digest(ti.dag_id, ti.run_id)}-{try_number or ti.try_number}"
    what = f"{ti.dag_id}-{ti.task_id}".replace("_", "-").replace(".", "-")
    return f"{ours}{what[: LONGEST_JOB_NAME - len(ours) - len(tail) - 1].rstrip('-')}-{tail}"


def release_id(version: int, ti: TaskInstance) -> str:
    """A release: the model's version and the run that made it, valid as a label and in names of Kubernetes."""
    return f"v{version}-{run_digest(ti.dag_id, ti.run_id)}"
