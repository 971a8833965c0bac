"""A training or processing job: its request, and its state as Describe… shows it."""

import threading
from dataclasses import dataclass, field
from typing import Any, Final

from local.aws.sagemaker.job_process import OUT_OF_TIME, Stop
from local.aws.sagemaker.protocol import now
from local.aws.sagemaker.store import Document

ENDED: Final = ("Completed", "Failed", "Stopped")
LONGEST_REASON: Final = 1024


@dataclass(frozen=True)
class Kind:
    """Training or processing: how AWS spells what belongs to it."""

    name: str

    @property
    def resource(self) -> str:
        """Return the kind of resource in an ARN."""
        return f"{self.name.lower()}-job"

    @property
    def log_group(self) -> str:
        """Return the log group of such jobs."""
        return f"/aws/sagemaker/{self.name}Jobs"

    def key(self, member: str) -> str:
        """Return a member's name in requests and answers: TrainingJobName for Name."""
        return f"{self.name}Job{member}"


TRAINING: Final = Kind("Training")
PROCESSING: Final = Kind("Processing")
KINDS: Final = {kind.name: kind for kind in (TRAINING, PROCESSING)}


@dataclass
class Job:
    """A job: the request that created it, and its state as Describe… shows it beside the request."""

    kind: Kind
    arn: str
    request: Document
    state: Document
    stop: Stop = field(default_factory=Stop)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Over the state, which the job's thread and requests change."""

    @classmethod
    def create(cls, kind: Kind, arn: str, request: Document) -> "Job":
        """Return a new job in its first state."""
        moment = now()
        state: Document = {
            kind.key("Arn"): arn,
            kind.key("Status"): "InProgress",
            "CreationTime": moment,
            "LastModifiedTime": moment,
        }
        if kind is TRAINING:
            output = request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            name = request[kind.key("Name")]
            starting = {"Status": "Starting", "StartTime": moment, "StatusMessage": "Starting the training job"}
            state |= {
                "ModelArtifacts": {"S3ModelArtifacts": f"{output}/{name}/output/model.tar.gz"},
                "SecondaryStatus": "Starting",
                "SecondaryStatusTransitions": [starting],
            }
        return cls(kind, arn, request, state)

    @classmethod
    def of(cls, document: Document) -> "Job":
        """Return the job that `document` described."""
        return cls(KINDS[document["kind"]], document["arn"], document["request"], document["state"])

    def document(self) -> Document:
        """Return what the store keeps of the job."""
        return {"kind": self.kind.name, "arn": self.arn, "request": self.request, "state": self.state}

    @property
    def name(self) -> str:
        """Return the job's name."""
        return str(self.request[self.kind.key("Name")])

    @property
    def status(self) -> str:
        """Return InProgress, Stopping, or one of ENDED."""
        return str(self.state[self.kind.key("Status")])

    @property
    def region(self) -> str:
        """Return the job's region."""
        return self.arn.split(":")[3]

    # --- changes of the state ---
    def note(self, member: str, value: Any) -> None:
        """Set a member of the state."""
        with self.lock:
            self.state[member] = value

    def begin(self) -> None:
        """Note that the job's own code starts."""
        self.note(f"{self.kind.name}StartTime", now())

    def step(self, secondary: str, message: str, status: str = "InProgress") -> None:
        """Enter a state, unless the job has ended. Processing jobs have no secondary states."""
        with self.lock:
            if self.status in ENDED:
                return
            moment = now()
            if not (self.status == "Stopping" and status == "InProgress"):
                self.state[self.kind.key("Status")] = status
            self.state["LastModifiedTime"] = moment
            if self.kind is TRAINING:
                transitions = self.state["SecondaryStatusTransitions"]
                transitions[-1].setdefault("EndTime", moment)
                transitions.append({"Status": secondary, "StartTime": moment, "StatusMessage": message})
                self.state["SecondaryStatus"] = secondary

    def end(self, status: str, secondary: str, message: str, reason: str | None = None) -> None:
        """Enter the last state, the first time that this is called. reason: FailureReason."""
        with self.lock:
            if self.status in ENDED:
                return
            moment = now()
            started = self.state.setdefault(f"{self.kind.name}StartTime", moment)
            self.state[f"{self.kind.name}EndTime"] = moment
            if reason:
                self.state["FailureReason"] = reason[:LONGEST_REASON]
            if self.kind is TRAINING:
                seconds = max(1, round(moment - started))
                self.state |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            self.step(secondary, message, status)

    def fail(self, reason: str) -> None:
        """End as Failed with this FailureReason."""
        self.end("Failed", "Failed", "Training job failed", reason)

    def end_stopped(self) -> None:
        """End as Stopped: by request, or because its time was over."""
        if self.stop.reason == OUT_OF_TIME:
            self.end("Stopped", self.stop.reason, "Training job runtime exceeded MaxRuntimeInSeconds provided")
        else:
            self.end("Stopped", "Stopped", "Training job stopped")
