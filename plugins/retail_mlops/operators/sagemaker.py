"""Operators for SageMaker jobs: a retry finds its job again, a kill stops it, and only Completed is a success.

Why not the provider's operators as they are (amazon 9.39): killing their task leaves the job running; with
print_log=False they take a Stopped job for a success; and a retry starts a second paid job beside one that still runs.

Who stops the job of a killed task (marked failed or success, cleared, its run stopped):
- the trigger's `on_kill`, while the task is deferred, which it is but for seconds;
- the operator's `on_kill`, when the worker's next heartbeat is refused while the task still runs, or itself waits;
- the operator itself, when the task would have been deferred before that heartbeat: Airflow refuses the deferral of a
  killed task and calls nobody, so `_wait` checks whether the task still runs;
- common/killed_tasks.py, for what these three miss, and while no triggerer runs.
Nobody notices a run that is stopped while its task, whose worker died, waits for a retry (the job ends at its own
time limit), and a task that is cleared within the second before its trigger runs (the next try takes the job over).
"""

import datetime as dt
import time
from typing import Any, ClassVar, Final
from urllib.parse import urlparse

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerBaseOperator,
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
)
from airflow.sdk import Context, TaskInstanceState
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.types import RuntimeTaskInstanceProtocol
from botocore.exceptions import ClientError

from include.settings import settings
from retail_mlops.common.errors import RetailError
from retail_mlops.common.names import job_name
from retail_mlops.triggers.sagemaker import NAME, STOP, StoppingJobTrigger, already_over

RUNNING: Final = ("InProgress", "Stopping")
LOG_LINES: Final = 60
POLL_IN_TASK: Final = 0.2
"""Seconds between two looks at a job while its task itself waits."""
QUEUE_AND_START: Final = 3600
"""Seconds that a job may wait for its machine, beyond its own run time."""


class _RetailJob(SageMakerBaseOperator):
    """What the two kinds of job share; listed before the provider's operator. Returns the job's name.

    `config`: a callable (context, jinja_env) that returns the request without the job's name, which is `job_name(ti)`.
    """

    kind: ClassVar[str]
    log_group: ClassVar[str]
    create_options: ClassVar[dict[str, Any]]
    check_interval: int

    def __init__(self, **options: Any) -> None:
        super().__init__(
            print_log=False,  # with logs the provider polls at most every 30 s
            deferrable=True,
            check_interval=settings().poll_seconds,
            **options,
        )
        self._started: str | None = None
        self._killed = False

    # --- the life of a task ---
    def execute(self, context: Context) -> str:
        ti = context["ti"]
        for number in range(ti.try_number, 0, -1):
            name = job_name(ti, number)
            if (job := self._describe(name)) and (self._status(job) in RUNNING or number == ti.try_number):
                self.log.info(
                    "Found %s job %s (%s): waiting for it, not starting another", self.kind, name, self._status(job)
                )
                return self._wait(ti, name, job)
        return self._start(ti)

    def execute_complete(self, context: Context, event: dict[str, Any] | None = None) -> str:
        ti, event = context["ti"], event or {}
        name = self._started = event["job_name"]
        job = self._describe(name) or {}
        if self._status(job) in RUNNING:
            if event.get("status") == "timeout":
                self._stop(name)
                raise AirflowException(f"stopped waiting for {self.kind} job {name}: {event.get('message')}")
            self.log.warning("%s job %s still runs, but its trigger failed: %s", self.kind, name, event.get("message"))
            return self._wait(ti, name, job)  # not a failure: nobody would watch the job until the retry
        return self._conclude(ti, name, job)

    def on_kill(self) -> None:
        """Stop the job. Runs between two lines of the methods below, in the same thread; they continue afterwards."""
        self._killed = True
        if self._started:
            self._stop(self._started)

    # --- its steps ---
    def _start(self, ti: RuntimeTaskInstanceProtocol) -> str:
        name = self.config[NAME[self.kind]] = job_name(ti)
        self.preprocess_config()
        self._require_running(ti)
        self._started = name
        getattr(self.hook, f"create_{self.kind.lower()}_job")(
            self.config, wait_for_completion=False, **self.create_options
        )
        return self._wait(ti, name, self._describe(name) or {})

    def _require_running(self, ti: RuntimeTaskInstanceProtocol) -> None:
        """Raise AirflowException, after stopping the job, when the task was killed meanwhile."""
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
        state = states.get(ti.run_id, {}).get(ti.task_id)
        if self._killed or state != TaskInstanceState.RUNNING:
            if self._started:
                self._stop(self._started)
            raise AirflowException(f"the task was killed (it is {state or 'gone'}): its job must not run on")

    def _wait(self, ti: RuntimeTaskInstanceProtocol, name: str, job: dict[str, Any]) -> str:
        self._started = name
        job = self._watch(name, job)
        if self._status(job) not in RUNNING:
            return self._conclude(ti, name, job)
        self._require_running(ti)
        attempts = (settings().job_max_runtime_seconds + QUEUE_AND_START) // self.check_interval
        self.defer(
            trigger=StoppingJobTrigger(
                job_name=name,
                job_type=self.kind,
                waiter_delay=self.check_interval,
                waiter_max_attempts=attempts,
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
            ),
            method_name="execute_complete",
        )

    def _watch(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        """Wait a while for the job's end: a short job needs neither a trigger nor a second process."""
        until = time.monotonic() + settings().wait_in_task_seconds
        while self._status(job) in RUNNING and not self._killed and time.monotonic() < until:
            time.sleep(POLL_IN_TASK)
            job = self._describe(name) or {}
        return job

    def _conclude(self, ti: RuntimeTaskInstanceProtocol, name: str, job: dict[str, Any]) -> str:
        """Take the result of a job that has ended; start another where it was stopped with an earlier try."""
        if self._status(job) == "Stopped" and name != job_name(ti):
            self.log.info("Job %s of an earlier try was stopped: starting another", name)
            return self._start(ti)
        return self._finish(name, job)

    def _finish(self, name: str, job: dict[str, Any]) -> str:
        self._show_log(name)
        if (status := self._status(job)) != "Completed":
            reason = (
                job.get("FailureReason") or job.get("ExitMessage") or job.get("SecondaryStatus") or "no reason given"
            )
            text = f"{self.kind} job {name} is {status}, not Completed: {reason}"
            # the code's or the data's own fault, or somebody's stop: the same again would end the same
            final = status == "Stopped" or reason.startswith(("AlgorithmError", "ClientError"))
            raise (RetailError if final else AirflowException)(text)
        for url in self.output_urls(job):
            self._require_output(name, url)
        return name

    def _require_output(self, name: str, url: str) -> None:
        bucket, prefix = urlparse(url).netloc, urlparse(url).path.lstrip("/")
        if not S3Hook(self.aws_conn_id, region_name=self.region_name).list_keys(bucket, prefix=prefix, max_items=1):
            raise RetailError(f"{self.kind} job {name} is Completed but wrote nothing to {url}: read the log above")

    # --- SageMaker ---
    def output_urls(self, job: dict[str, Any]) -> list[str]:
        """Return the s3:// URLs of what a described job must have written."""
        raise NotImplementedError

    def _status(self, job: dict[str, Any]) -> str:
        return str(job.get(f"{self.kind}JobStatus", "missing"))

    def _describe(self, name: str) -> dict[str, Any] | None:
        try:
            job: dict[str, Any] = getattr(self.hook, f"describe_{self.kind.lower()}_job")(name)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ValidationException", "ResourceNotFound"):
                return None
            raise
        return job

    def _stop(self, name: str) -> None:
        self.log.info("Stopping %s job %s", self.kind, name)
        try:
            getattr(self.hook.conn, STOP[self.kind])(**{NAME[self.kind]: name})
        except ClientError as error:
            if not already_over(error):
                raise

    def _show_log(self, name: str) -> None:
        """Show the last lines of the job's log in the log of the task."""
        logs = AwsBaseHook(self.aws_conn_id, client_type="logs", region_name=self.region_name).conn
        try:
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=self.log_group, logStreamNamePrefix=f"{name}/", PaginationConfig={"MaxItems": 10_000}
            )
            events = [event for page in pages for event in page["events"]]
        except ClientError as error:
            self.log.info("The job's log cannot be read: %s", error)
            return
        for event in events[-LOG_LINES:]:
            moment = dt.datetime.fromtimestamp(event["timestamp"] / 1000, dt.UTC)
            self.log.info("%s %s", moment.strftime("%H:%M:%S"), event["message"].rstrip())


class ProcessingJobOperator(_RetailJob, SageMakerProcessingOperator):  # type: ignore[misc]  # returns a name
    """A processing job; every output that its request names must exist afterwards."""

    kind = "Processing"
    log_group = "/aws/sagemaker/ProcessingJobs"
    create_options: ClassVar[dict[str, Any]] = {}

    def output_urls(self, job: dict[str, Any]) -> list[str]:
        return [output["S3Output"]["S3Uri"] for output in job["ProcessingOutputConfig"]["Outputs"]]


class TrainingJobOperator(_RetailJob, SageMakerTrainingOperator):  # type: ignore[misc]  # returns a name
    """A training job; its model.tar.gz must exist afterwards."""

    kind = "Training"
    log_group = "/aws/sagemaker/TrainingJobs"
    create_options: ClassVar[dict[str, Any]] = {"print_log": False}

    def output_urls(self, job: dict[str, Any]) -> list[str]:
        return [job["ModelArtifacts"]["S3ModelArtifacts"]]
