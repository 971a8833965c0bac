"""Ends the SageMaker jobs of a task that a person marked, or whose run a person stopped, where Airflow hears of it.

Why beside the `on_kill` of operators and triggers: Airflow 3.3.2 tells nobody when the task was deferred and its
trigger does not run yet (a second or two), when no triggerer runs, or when the deferral is refused because the task is
killed meanwhile. Its API server knows. What is cleared is no concern of this: the next try finds the job.
"""

import logging
import threading
import time
from typing import Any, Final

from airflow.listeners import hookimpl

from retail_mlops.common.names import job_name

KINDS: Final = {"ProcessingJobOperator": "Processing", "TrainingJobOperator": "Training"}
"""Operator → kind of the jobs that it starts."""
WATCH_SECONDS: Final = 30
"""A worker that has not heard of the kill may still start a job in this time."""
PAUSE_SECONDS: Final = 2

log = logging.getLogger(__name__)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any) -> None:
    _ended(previous_state, task_instance)


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    _ended(previous_state, task_instance)


def _ended(previous_state: Any, ti: Any) -> None:
    """Airflow names the previous state of a task that ended by itself, and none of one that a person ended."""
    if previous_state is None and (kind := KINDS.get(ti.operator)):
        names = [job_name(ti, number) for number in range(max(ti.try_number, 1), 0, -1)]
        # not in the person's request: AWS may be slow, and what the worker is just starting comes later
        threading.Thread(target=end_jobs, args=(kind, names), daemon=True, name=f"end {names[0]}").start()


def end_jobs(kind: str, names: list[str], seconds: float = WATCH_SECONDS, pause: float = PAUSE_SECONDS) -> None:
    """Stops whichever of the jobs live, now and for so many seconds."""
    from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
    from botocore.exceptions import BotoCoreError, ClientError

    from include.settings import settings
    from retail_mlops.common.dag_defaults import AIRFLOW
    from retail_mlops.triggers.sagemaker import NAME, STOP, already_over

    until, hook = time.monotonic() + seconds, SageMakerHook(AIRFLOW, region_name=settings().region)
    while True:
        for name in names:
            try:
                getattr(hook.conn, STOP[kind])(**{NAME[kind]: name})
                log.info("stopping %s job %s: its task was killed", kind, name)
            except (BotoCoreError, ClientError) as error:
                if not (isinstance(error, ClientError) and already_over(error)):
                    log.warning("%s job %s may run on: %s", kind, name, error)
        if time.monotonic() + pause > until:
            return
        time.sleep(pause)
