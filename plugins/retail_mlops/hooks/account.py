"""boto3 clients of one connection, and the listings of an account that more than one hook reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.utils.log.logging_mixin import LoggingMixin
from botocore.exceptions import ClientError

from include.settings import settings
from retail_mlops.hooks.cloudformation import PATIENT

NOT_TERMINATED: Final = ("pending", "running", "shutting-down", "stopping", "stopped")
BATCH: Final = 20
"""DescribeTags of ELB takes so many ARNs."""
JOB_LOGS: Final = "/aws/sagemaker/"
"""Groups that SageMaker shares across an account: what is ours in them are the streams of our jobs."""


def code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def as_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """The tags of an answer, in the three spellings that AWS has for them."""
    return {
        tag.get("Key", tag.get("key", tag.get("TagKey", ""))): tag.get(
            "Value", tag.get("value", tag.get("TagValue", ""))
        )
        for tag in tags or []
    }


@dataclass(frozen=True)
class Job:
    """A SageMaker job under way; kind: training or processing."""

    kind: str
    arn: str
    name: str
    status: str
    since: dt.datetime


class Clients(LoggingMixin):
    """boto3 clients of one connection, each made once."""

    def __init__(self, aws_conn_id: str) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region, self.account = settings().region, settings().account_id
        self.client: Callable[[str], Any] = cache(self._client)

    def _client(self, service: str) -> Any:
        return AwsBaseHook(self.aws_conn_id, client_type=service, region_name=self.region, config=PATIENT).conn

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
        """The items of every page of a list."""
        for page in self.client(service).get_paginator(operation).paginate(**request):
            yield from page.get(key, [])

    def arn(self, service: str, rest: str, region: str | None = None) -> str:
        return f"arn:aws:{service}:{self.region if region is None else region}:{self.account}:{rest}"

    # --- what runs and is paid by the hour ---
    def instances(self) -> Iterator[dict[str, Any]]:
        """EC2 instances that are not terminated."""
        alive = [{"Name": "instance-state-name", "Values": list(NOT_TERMINATED)}]
        for reservation in self.pages("ec2", "describe_instances", "Reservations", Filters=alive):
            yield from reservation["Instances"]

    def load_balancers(self) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Load balancers with their tags."""
        return self._tagged("LoadBalancerArn", self.pages("elbv2", "describe_load_balancers", "LoadBalancers"))

    def target_groups(self) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        return self._tagged("TargetGroupArn", self.pages("elbv2", "describe_target_groups", "TargetGroups"))

    def _tagged(self, key: str, found: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        by_arn = {one[key]: one for one in found}
        arns = list(by_arn)
        for begin in range(0, len(arns), BATCH):
            answer = self.client("elbv2").describe_tags(ResourceArns=arns[begin : begin + BATCH])
            for one in answer["TagDescriptions"]:
                yield by_arn[one["ResourceArn"]], as_dict(one["Tags"])

    def jobs(self) -> Iterator[Job]:
        """SageMaker jobs that have not ended, of the whole account."""
        for kind in ("training", "processing"):
            title = kind.title()
            for status in ("InProgress", "Stopping"):
                found = self.pages("sagemaker", f"list_{kind}_jobs", f"{title}JobSummaries", StatusEquals=status)
                for one in found:
                    yield Job(kind, one[f"{title}JobArn"], one[f"{title}JobName"], status, one["CreationTime"])

    def our_jobs(self) -> Iterator[Job]:
        """Those of the environment."""
        return (job for job in self.jobs() if job.name.startswith(settings().prefix))

    def job_streams(self, group: str) -> Iterator[str]:
        """The streams of the environment's jobs in a log group below JOB_LOGS."""
        found = self.pages(
            "logs", "describe_log_streams", "logStreams", logGroupName=group, logStreamNamePrefix=settings().prefix
        )
        return (stream["logStreamName"] for stream in found)
