"""Run one SageMaker job from its image to its outputs, as local processes under SageMaker's contract of containers.

On AWS a container has the folder /opt/ml. Here each job has a folder of its own, because mounting it at /opt/ml would
need privileges. SAGEMAKER_BASE_DIR (the variable of AWS's own training toolkit) names it. Arguments and variables reach
the code unchanged; code asks SAGEMAKER_BASE_DIR for its folders and falls back to /opt/ml. What SageMaker does with the
job's role is done with that role's credentials: the image's pull, S3, logs, metrics.

Unlike AWS: no isolation beyond a process of the same user, no limit of an instance's size, one host only.
"""

import json
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import boto3
from botocore.config import Config

from local.aws.iam import role_sessions as roles
from local.aws.sagemaker import job_data, job_logs, job_process
from local.aws.sagemaker.job_state import LONGEST_REASON, PROCESSING, Job
from local.aws.sagemaker.store import Document
from local.stack import code_images as images

SERVICE: Final = "sagemaker.amazonaws.com"
SESSION_NAME: Final = "SageMaker"
OPT_ML: Final = PurePosixPath("/opt/ml")
HOST: Final = "algo-1"
DEFAULT_RUNTIME_SECONDS: Final = 86400


class Failed(Exception):
    """The job failed; the text is its FailureReason."""


@dataclass(frozen=True)
class Platform:
    """What a job runs on; marks: variables that every process of the local stack carries."""

    endpoint: str
    folder: Path
    cache: Path
    marks: Mapping[str, str]


class Run(ABC):
    """The work on one job; save: called after each change of its state."""

    def __init__(self, job: Job, platform: Platform, save: Callable[[Job], None]) -> None:
        self.job, self.platform, self.save = job, platform, save
        self.base = platform.folder / f"{job.name}-{secrets.token_hex(4)}"
        self.session: boto3.Session
        self.log: job_logs.JobLog

    @abstractmethod
    def work(self) -> None:
        """Do what this kind of job does, from the pull of its image to its outputs."""

    def __call__(self) -> None:
        """Run the job to its end. Every error ends in the job's state; none is raised."""
        job = self.job
        try:
            self.base.mkdir(mode=0o700)
            self.session = roles.session(job.request["RoleArn"], SERVICE, SESSION_NAME, job.region)
            self.work()
            if not job.stop.reason:
                job.end("Completed", "Completed", "Training job completed")
        except (Failed, job_data.DataError) as error:
            if not job.stop.reason:
                job.fail(str(error))
        except (roles.NotTrusted, images.PullError) as error:
            job.fail(f"ClientError: {error}")
        except Exception as error:
            job.fail(f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(self.base, ignore_errors=True)
            if job.stop.reason:
                job.end_stopped()
            self.save(job)

    # --- for both kinds ---
    def client(self, service: str) -> Any:
        """Return a client with the job's role."""
        return self.session.client(
            service, endpoint_url=self.platform.endpoint, config=Config(retries={"max_attempts": 3})
        )

    def step(self, secondary: str, message: str) -> None:
        """Enter a state, and save it."""
        self.job.step(secondary, message)
        self.save(self.job)

    def folder(self, path: str) -> Path:
        """Return the folder that stands for a path below /opt/ml."""
        return self.base / PurePosixPath(path).relative_to(OPT_ML)

    def write_config(self, folder: Path, name: str, content: Any) -> None:
        """Write a JSON file that the container contract prescribes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(content))

    def pull(self, reference: str) -> images.Recipe:
        """Pull the image; the registry checks the role's right every time, also for what is in the cache."""
        return images.pull(reference, self.session, self.platform.endpoint, self.platform.cache, always=True)

    def execute(self, recipe: images.Recipe, command: list[str], metrics: Mapping[str, str]) -> None:
        """Run the command to its end. Raise Failed if it failed by itself; a stopped job just returns."""
        request, job = self.job.request, self.job
        stream = f"{job.name}/{HOST}-{int(time.time())}"
        self.log = job_logs.JobLog(self.client("logs"), job.kind.log_group, stream, dict(metrics))
        limit = request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS)
        secret = roles.register_holder(request["RoleArn"], SERVICE, SESSION_NAME)
        try:
            code = job_process.run(
                command, Path(recipe.workdir), self._environment(recipe, secret), self.log, job.stop, limit
            )
        except OSError as error:
            raise Failed(f"ClientError: cannot start {command}: {error}") from error
        finally:
            roles.forget(secret)
        message = self._output_note("message")
        if message and job.kind is PROCESSING:
            job.note("ExitMessage", message)
        if code and not job.stop.reason:
            reason = self._output_note("failure") or self.log.last_lines()[-900:]
            raise Failed(f"AlgorithmError: {reason[:960]}, exit code: {128 - code if code < 0 else code}")

    def _output_note(self, name: str) -> str:
        """Return what the job wrote about its end to /opt/ml/output/<name>."""
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


def command_of(recipe: images.Recipe, specification: Document, default: list[str]) -> list[str]:
    """Return a job's command. As in a container engine, an entry point of the request also replaces the arguments.

    default: the arguments when neither entry point nor arguments are given.
    """
    if entrypoint := specification.get("ContainerEntrypoint"):
        return [*entrypoint, *specification.get("ContainerArguments", [])]
    command = [*recipe.command, *specification.get("ContainerArguments", default)]
    if not command:
        raise Failed("ClientError: the image has no entry point, and the request gives no ContainerEntrypoint")
    return command


def resource_config(instance: str) -> Document:
    """Return resourceconfig.json: one host of this instance type."""
    group = {"instance_group_name": "homogeneousCluster", "instance_type": instance, "hosts": [HOST]}
    return {
        "current_host": HOST,
        "current_instance_type": instance,
        "current_group_name": "homogeneousCluster",
        "hosts": [HOST],
        "instance_groups": [group],
        "network_interface_name": "lo",
    }
