"""One SageMaker job from its image to its outputs, as local processes that obey SageMaker's contract of containers.

What on AWS is the folder /opt/ml of a container is a folder of the job's own here, named by SAGEMAKER_BASE_DIR (the
variable of AWS's own training toolkit): mounting it at /opt/ml would need privileges. Arguments and variables reach
the code unchanged, so code asks SAGEMAKER_BASE_DIR for its folders and falls back to /opt/ml. Everything that
SageMaker does with the job's role is done with that role's credentials: the image's pull, S3, logs, metrics.

Not as on AWS: no isolation beyond a process of the same user, no limit of an instance's size, one host only.
"""

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.aws.iam import role_sessions as roles
from local.aws.sagemaker import job_data, job_logs, job_process
from local.aws.sagemaker.protocol import now
from local.aws.sagemaker.store import Document
from local.stack import code_images as images

SERVICE: Final = "sagemaker.amazonaws.com"
SESSION_NAME: Final = "SageMaker"
OPT_ML: Final = PurePosixPath("/opt/ml")
HOST: Final = "algo-1"
DEFAULT_RUNTIME_SECONDS: Final = 86400
LONGEST_REASON: Final = 1024


@dataclass(frozen=True)
class Kind:
    """Training or processing: how AWS spells what belongs to it."""

    name: str

    @property
    def resource(self) -> str:
        return f"{self.name.lower()}-job"

    @property
    def log_group(self) -> str:
        return f"/aws/sagemaker/{self.name}Jobs"

    def key(self, what: str) -> str:
        return f"{self.name}Job{what}"


TRAINING, PROCESSING = Kind("Training"), Kind("Processing")
KINDS: Final = {kind.name: kind for kind in (TRAINING, PROCESSING)}
ENDED: Final = ("Completed", "Failed", "Stopped")


class Failed(Exception):
    """The job failed; the text is its FailureReason."""


@dataclass(frozen=True)
class Platform:
    """What a job runs on; marks: variables that every process of the local stack carries."""

    endpoint: str
    folder: Path
    cache: Path
    marks: Mapping[str, str]


@dataclass
class Job:
    """A job: the request that made it, and its state as Describe… shows it beside the request."""

    kind: Kind
    arn: str
    request: Document
    state: Document
    stop: job_process.Stop = field(default_factory=job_process.Stop)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Over the state, which the job's thread and requests change."""

    @property
    def name(self) -> str:
        return str(self.request[self.kind.key("Name")])

    @property
    def status(self) -> str:
        return str(self.state[self.kind.key("Status")])

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    def document(self) -> Document:
        return {"kind": self.kind.name, "arn": self.arn, "request": self.request, "state": self.state}

    @classmethod
    def of(cls, document: Document) -> "Job":
        return cls(KINDS[document["kind"]], document["arn"], document["request"], document["state"])

    # --- its states ---
    def note(self, member: str, value: Any) -> None:
        with self.lock:
            self.state[member] = value

    def begin(self) -> None:
        self.note(f"{self.kind.name}StartTime", now())

    def step(self, secondary: str, message: str, status: str = "InProgress") -> None:
        """Into a state, unless the job has ended; processing jobs have no secondary states."""
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
        """Into its last state, the first time; reason: FailureReason."""
        with self.lock:
            if self.status in ENDED:
                return
            moment = now()
            began = self.state.setdefault(f"{self.kind.name}StartTime", moment)
            self.state[f"{self.kind.name}EndTime"] = moment
            if reason:
                self.state["FailureReason"] = reason[:LONGEST_REASON]
            if self.kind is TRAINING:
                seconds = max(1, round(moment - began))
                self.state |= {"TrainingTimeInSeconds": seconds, "BillableTimeInSeconds": seconds}
            self.step(secondary, message, status)

    def end_stopped(self) -> None:
        if self.stop.reason == job_process.OUT_OF_TIME:
            self.end("Stopped", self.stop.reason, "Training job runtime exceeded MaxRuntimeInSeconds provided")
        else:
            self.end("Stopped", "Stopped", "Training job stopped")


class Run:
    """The work on one job; save: called after each change of its state."""

    def __init__(self, job: Job, platform: Platform, save: Callable[[Job], None]) -> None:
        self.job, self.platform, self.save = job, platform, save
        self.base = platform.folder / f"{job.name}-{secrets.token_hex(4)}"
        self.session: boto3.Session
        self.log: job_logs.JobLog

    def client(self, service: str) -> Any:
        return self.session.client(
            service, endpoint_url=self.platform.endpoint, config=Config(retries={"max_attempts": 3})
        )

    def step(self, secondary: str, message: str) -> None:
        self.job.step(secondary, message)
        self.save(self.job)

    def __call__(self) -> None:
        """Runs the job to its end; nothing escapes but into the job's state."""
        job = self.job
        try:
            self.base.mkdir(mode=0o700)
            self.session = roles.session(job.request["RoleArn"], SERVICE, SESSION_NAME, job.region)
            (_train if job.kind is TRAINING else _process)(self)
            if not job.stop.reason:
                job.end("Completed", "Completed", "Training job completed")
        except (Failed, job_data.DataError) as error:
            if not job.stop.reason:
                job.end("Failed", "Failed", "Training job failed", str(error))
        except (roles.NotTrusted, images.PullError) as error:
            job.end("Failed", "Failed", "Training job failed", f"ClientError: {error}")
        except Exception as error:
            job.end("Failed", "Failed", "Training job failed", f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(self.base, ignore_errors=True)
            if job.stop.reason:
                job.end_stopped()
            self.save(job)

    # --- what both kinds do ---
    def folder(self, path: str) -> Path:
        """The folder that stands for a path below /opt/ml."""
        return self.base / PurePosixPath(path).relative_to(OPT_ML)

    def execute(self, recipe: images.Recipe, command: list[str], metrics: Mapping[str, str]) -> None:
        """Runs the command to its end. Failed if it failed by itself; a stopped job just returns."""
        request, job = self.job.request, self.job
        stream = f"{job.name}/{HOST}-{int(time.time())}"
        self.log = job_logs.JobLog(self.client("logs"), job.kind.log_group, stream, dict(metrics))
        limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS)
        secret = roles.holder(request["RoleArn"], SERVICE, SESSION_NAME)
        try:
            code = job_process.run(
                command, Path(recipe.workdir), self._environment(recipe, secret), self.log, job.stop, limit
            )
        except OSError as error:
            raise Failed(f"ClientError: cannot start {command}: {error}") from error
        finally:
            roles.forget(secret)
        message = self._note("message")
        if message and job.kind is PROCESSING:
            job.note("ExitMessage", message)
        if code and not job.stop.reason:
            why = self._note("failure") or self.log.last_words()[-900:]
            raise Failed(f"AlgorithmError: {why[:960]}, exit code: {128 - code if code < 0 else code}")

    def _note(self, name: str) -> str:
        """What the job wrote about its end to /opt/ml/output/<name>."""
        with suppress(FileNotFoundError):
            return (self.base / "output" / name).read_text(errors="replace").strip()[:LONGEST_REASON]
        return ""

    def _environment(self, recipe: images.Recipe, secret: str) -> dict[str, str]:
        job, endpoint = self.job, self.platform.endpoint
        (self.base / "tmp").mkdir()
        return {
            "HOME": str(self.base),
            "TMPDIR": str(self.base / "tmp"),
            "LANG": "C.UTF-8",
            **recipe.env,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint + roles.PATH,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": secret,
            "SAGEMAKER_BASE_DIR": str(self.base),
            f"{job.kind.name.upper()}_JOB_NAME": job.name,
            f"{job.kind.name.upper()}_JOB_ARN": job.arn,
            **job.request.get("Environment", {}),
            **self.platform.marks,
        }

    def write_config(self, folder: Path, name: str, content: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content))

    def pull(self, reference: str) -> images.Recipe:
        """Asks the registry every time: the role must be allowed to pull, also what is in the cache."""
        return images.pull(reference, self.session, self.platform.endpoint, self.platform.cache, always=True)


def _command(recipe: images.Recipe, specification: Document, default: list[str]) -> list[str]:
    """As a container engine has it: an entry point of the request also replaces the image's arguments."""
    if entrypoint := specification.get("ContainerEntrypoint"):
        return [*entrypoint, *specification.get("ContainerArguments", [])]
    command = [*recipe.command, *specification.get("ContainerArguments", default)]
    if not command:
        raise Failed("ClientError: the image has no entry point, and the request gives no ContainerEntrypoint")
    return command


def _train(run: Run) -> None:
    job, request = run.job, run.job.request
    specification, s3 = request["AlgorithmSpecification"], run.client("s3")
    run.step("Downloading", "Downloading input data")
    recipe = run.pull(specification["TrainingImage"])
    _lay_out(run)
    for channel in request.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        folder = run.base / "input/data" / channel["ChannelName"]
        job_data.download(s3, source["S3Uri"], source["S3DataType"], folder)
    job.begin()
    if job.stop.reason:
        return
    run.step("Training", "Training image download completed. Training in progress.")
    metrics = {metric["Name"]: metric["Regex"] for metric in specification.get("MetricDefinitions", [])}
    target = request["OutputDataConfig"]["S3OutputPath"].rstrip("/") + f"/{job.name}/output"
    try:
        run.execute(recipe, _command(recipe, specification, ["train"]), metrics)
    except Failed:  # its output explains it
        with suppress(job_data.DataError):
            _send_archive(run, s3, "output/data", f"{target}/output.tar.gz")
        raise
    _send_archive(run, s3, "output/data", f"{target}/output.tar.gz")
    run.step("Uploading", "Uploading generated training model")
    _send_archive(run, s3, "model", f"{target}/model.tar.gz")
    _publish(run)


def _lay_out(run: Run) -> None:
    """The folders and files that a training container finds."""
    request, settings = run.job.request, run.base / "input/config"
    for name in ("model", "output/data", "code"):
        (run.base / name).mkdir(parents=True)
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
        }
        for channel in request.get("InputDataConfig", [])
    }
    run.write_config(settings, "hyperparameters", request.get("HyperParameters", {}))
    run.write_config(settings, "inputdataconfig", channels)
    run.write_config(settings, "resourceconfig", _hosts(request["ResourceConfig"]["InstanceType"]))


def _hosts(instance: str) -> Document:
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": instance,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }


def _send_archive(run: Run, s3: Any, name: str, url: str) -> None:
    folder = run.base / name
    if any(folder.iterdir()):
        archive = run.base / "tmp" / "archive.tar.gz"
        job_data.archive(folder, archive)
        job_data.upload_file(s3, archive, url)
        archive.unlink()


def _publish(run: Run) -> None:
    """The last value of each metric, into the job and CloudWatch; a role may lack the right, as on AWS."""
    values, moment = run.log.values, now()
    if not values:
        return
    final = [{"MetricName": name, "Value": value, "Timestamp": moment} for name, value in values.items()]
    run.job.note("FinalMetricDataList", final)
    host = [{"Name": "Host", "Value": f"{run.job.name}/{HOST}"}]
    data = [{"MetricName": name, "Value": value, "Dimensions": host} for name, value in values.items()]
    try:
        run.client("cloudwatch").put_metric_data(Namespace=TRAINING.log_group, MetricData=data)
    except (ClientError, BotoCoreError) as error:
        job_logs.log.warning("metrics of %s are lost: %s", run.job.name, error)


def _process(run: Run) -> None:
    job, request = run.job, run.job.request
    s3, specification = run.client("s3"), request["AppSpecification"]
    outputs = [output["S3Output"] for output in request.get("ProcessingOutputConfig", {}).get("Outputs", [])]
    recipe = run.pull(specification["ImageUri"])
    described = {key: value for key, value in request.items() if key != "Tags"}
    run.write_config(run.base / "config", "processingjobconfig", described | {"ProcessingJobArn": job.arn})
    instance = request["ProcessingResources"]["ClusterConfig"]["InstanceType"]
    run.write_config(run.base / "config", "resourceconfig", _hosts(instance))
    for given in request.get("ProcessingInputs", []):
        source = given["S3Input"]
        job_data.download(s3, source["S3Uri"], source["S3DataType"], run.folder(source["LocalPath"]))
    for output in outputs:
        run.folder(output["LocalPath"]).mkdir(parents=True, exist_ok=True)
    (run.base / "output").mkdir()
    job.begin()
    if job.stop.reason:
        return
    run.step("Processing", "Processing")
    run.execute(recipe, _command(recipe, specification, recipe.args), {})
    if not job.stop.reason:
        for output in outputs:
            job_data.upload_folder(s3, run.folder(output["LocalPath"]), output["S3Uri"])
