"""Training and processing jobs: create, describe, stop, list. Two run at once, the others wait in order."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from local.aws.iam import role_sessions as roles
from local.aws.sagemaker import job_checks
from local.aws.sagemaker.job_run import SERVICE, SESSION_NAME, Platform, Run
from local.aws.sagemaker.job_state import ENDED, KINDS, PROCESSING, TRAINING, Job, Kind
from local.aws.sagemaker.processing_run import ProcessingRun
from local.aws.sagemaker.protocol import AwsError, Call, Operation, invalid, page
from local.aws.sagemaker.resource_tags import as_dict
from local.aws.sagemaker.store import Document, Store
from local.aws.sagemaker.training_run import TrainingRun

AT_ONCE: Final = 2
CLOSE_SECONDS: Final = 5.0
INTERRUPTED: Final = "InternalServerError: the AWS emulation ended while the job ran; start the job again"
RUNS: Final[dict[str, type[Run]]] = {TRAINING.name: TrainingRun, PROCESSING.name: ProcessingRun}


class Jobs:
    """The operations on jobs. Call `recover` once at the start, and `close` at the end; after it no state changes."""

    def __init__(self, store: Store, platform: Platform) -> None:
        self.store, self.platform = store, platform
        self.unfinished: dict[str, tuple[Job, Future[None]]] = {}  # by ARN
        self.closed = False
        # threads of this pool live as long as the process: a job dies with the thread that started it
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="job")
        self.operations: dict[str, Operation] = {}
        for kind in KINDS.values():
            verbs: dict[str, Callable[[Kind, Call], Document]] = {
                "Create": self.create,
                "Describe": self.describe,
                "Stop": self.stop,
            }
            self.operations |= {f"{verb}{kind.name}Job": partial(work, kind) for verb, work in verbs.items()}
            self.operations[f"List{kind.name}Jobs"] = partial(self.list, kind)

    def _save(self, job: Job) -> None:
        with self.store.lock, job.lock:
            if not self.closed:
                self.store.put(job.arn, job.document())

    def recover(self) -> None:
        """Mark jobs as failed that a crash or a stop of this service interrupted."""
        for document in self.store.below("arn:"):
            if "kind" in document and (job := Job.of(document)).status not in ENDED:
                job.fail(INTERRUPTED)
                self._save(job)

    def close(self) -> None:
        """End the jobs that run. Their states stay as they are: the next start marks them as interrupted."""
        with self.store.lock:
            self.closed = True
            unfinished = list(self.unfinished.values())
        for job, future in unfinished:
            future.cancel()
            job.stop.request("Stopped")
        wait([future for _, future in unfinished], CLOSE_SECONDS)
        self.pool.shutdown(wait=False)

    # --- operations ---
    def create(self, kind: Kind, call: Call) -> Document:
        """Check the request and queue the job."""
        request, name = call.request, call.request[kind.key("Name")]
        arn = call.arn(kind.resource, name)
        job_checks.check(kind, request)
        self._assert_role(request["RoleArn"])
        with self.store.lock:
            if self.store.get(arn):
                raise AwsError(
                    "ResourceInUse",
                    f"{kind.name} job names must be unique within an AWS account and region, and a "
                    f"{kind.name.lower()} job with this name already exists ({arn})",
                )
            job = Job.create(kind, arn, request)
            self._save(job)
            self.store.tag(arn, as_dict(request.get("Tags")))
            future = self.pool.submit(RUNS[kind.name](job, self.platform, self._save))
            self.unfinished[arn] = job, future
        future.add_done_callback(lambda _: self.unfinished.pop(arn, None))
        return {kind.key("Arn"): arn}

    def _assert_role(self, role: str) -> None:
        try:
            roles.assume(role, SERVICE, SESSION_NAME)
        except roles.NotTrusted as error:
            text = f"Could not assume role {role}. Please ensure that the role exists and allows principal "
            raise invalid(f"{text}'{SERVICE}' to assume the role.") from error

    def _job(self, kind: Kind, call: Call) -> Job:
        name = call.request[kind.key("Name")]
        if document := self.store.get(call.arn(kind.resource, name)):
            return Job.of(document)
        if kind is TRAINING:
            raise invalid("Requested resource not found.")
        raise invalid(f"Could not find requested job with name: {name}")

    def describe(self, kind: Kind, call: Call) -> Document:
        """Return the request of a job with its state."""
        job = self._job(kind, call)
        return {name: value for name, value in job.request.items() if name != "Tags"} | job.state

    def stop(self, kind: Kind, call: Call) -> Document:
        """Stop a job: one that waits at once; one that runs is Stopping until its process has ended."""
        with self.store.lock:
            job = self._job(kind, call)
            if job.status in ENDED:
                raise invalid(
                    f"The request was rejected because the {kind.name.lower()} job is in status {job.status}."
                )
            if self.closed:
                raise AwsError("ServiceUnavailable", "the AWS emulation is stopping: try again after its next start")
            job, future = self.unfinished[job.arn]
            job.stop.request("Stopped")
            if future.cancel():
                job.end("Stopped", "Stopped", "Training job stopped")
            else:
                job.step("Stopping", "Stopping the training job", "Stopping")
            self._save(job)
        return {}

    def list(self, kind: Kind, call: Call) -> Document:
        """List jobs by a part of their name and by status."""
        part = call.request.get("NameContains", "")
        status = call.request.get("StatusEquals")
        name, status_key = kind.key("Name"), kind.key("Status")
        members = [kind.key("Arn"), status_key, "CreationTime", "LastModifiedTime", f"{kind.name}EndTime"]
        members += ["SecondaryStatus"] if kind is TRAINING else ["FailureReason", "ExitMessage"]
        summaries = [
            {name: job.name} | {key: job.state[key] for key in members if key in job.state}
            for job in map(Job.of, self.store.below(call.arn(kind.resource, "")))
            if part in job.name and status in (None, job.status)
        ]
        sort_keys = {"CreationTime": "CreationTime", "Name": name, "Status": status_key}
        return page(summaries, call, kind.key("Summaries"), sort_keys)
