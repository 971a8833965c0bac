"""Stops the SageMaker jobs of a task that a person marked failed or success, or whose run a person stopped.

A listener of the API server, which knows of every such action. The `on_kill` of operators and triggers is not enough:
Airflow 3.3.2 calls none when the task was deferred and its trigger does not run yet (a second or two), when no
triggerer runs, or when the deferral is refused because the task was killed meanwhile. A cleared task needs nothing:
its next try finds the job.
"""

import logging
import threading
import time
from typing import Any, Final

from airflow.listeners import hookimpl

from retail_mlops.common.names import job_name

KINDS: Final = {"ProcessingJobOperator": "Processing", "TrainingJobOperator": "Training"}
"""Name of an operator → kind of the jobs that it starts."""
WATCH_SECONDS: Final = 30
"""A worker that does not know of the kill yet may start a job within this time."""
POLL_SECONDS: Final = 2

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any) -> None:
    _stop_jobs_of(previous_state, task_instance)


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    _stop_jobs_of(previous_state, task_instance)


def _stop_jobs_of(previous_state: Any, ti: Any) -> None:
    """Stop the jobs unless the task ended by itself: only then does Airflow pass a previous state."""
    if previous_state is None and (kind := KINDS.get(ti.operator)):
        names = [job_name(ti, number) for number in range(max(ti.try_number, 1), 0, -1)]
        # not within the person's request: AWS may be slow, and the worker may start a job a moment later
        threading.Thread(target=stop_jobs, args=(kind, names), daemon=True, name=f"stop {names[0]}").start()


def stop_jobs(kind: str, names: list[str], seconds: float = WATCH_SECONDS, poll: float = POLL_SECONDS) -> None:
    """Stop those of the jobs that run, now and for so many seconds."""
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
    from botocore.exceptions import BotoCoreError, ClientError

    from include.settings import settings
    from retail_mlops.common.dag_defaults import AIRFLOW
    from retail_mlops.triggers.sagemaker import NAME, STOP, already_over

    hook = SageMakerHook(AIRFLOW, region_name=settings().region)
    until = time.monotonic() + seconds
    while True:
        for name in names:
            try:
                getattr(hook.conn, STOP[kind])(**{NAME[kind]: name})
                log.info("Stopping %s job %s: its task was killed", kind, name)
            except (BotoCoreError, ClientError) as error:
                if not (isinstance(error, ClientError) and already_over(error)):
                    log.warning("%s job %s may still run: %s", kind, name, error)
        if time.monotonic() + poll > until:
            return
        time.sleep(poll)
