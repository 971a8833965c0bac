"""boto3 clients of one connection, and the listings of an account that more than one hook reads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.utils.log.logging_mixin import LoggingMixin

from include.settings import settings
from retail_mlops.hooks.aws_errors import RETRY_CONFIG

NOT_TERMINATED: Final = ("pending", "running", "shutting-down", "stopping", "stopped")
MAX_TAG_ARNS: Final = 20
"""How many ARNs DescribeTags of ELB accepts."""
JOB_LOGS: Final = "/aws/sagemaker/"
"""Prefix of the log groups that all environments of an account share; the streams of a job are its environment's."""


def as_dict(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """Return the tags of an answer, in any of the three spellings that AWS has for them."""
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

    def __init__(self, aws_conn_id: str | None) -> None:
        super().__init__()
        self.aws_conn_id = aws_conn_id
        self.region, self.account = settings().region, settings().account_id
        self.client: Callable[[str], Any] = cache(self._client)

    def _client(self, service: str) -> Any:
        return AwsBaseHook(self.aws_conn_id, client_type=service, region_name=self.region, config=RETRY_CONFIG).conn

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Any]:
        """Yield the items of every page of a listing."""
        for page in self.client(service).get_paginator(operation).paginate(**request):
            yield from page.get(key, [])

    def arn(self, service: str, rest: str, region: str | None = None) -> str:
        return f"arn:aws:{service}:{self.region if region is None else region}:{self.account}:{rest}"

    # --- what is paid by the hour ---
    def instances(self) -> Iterator[dict[str, Any]]:
        """Yield the EC2 instances that are not terminated."""
        not_terminated = [{"Name": "instance-state-name", "Values": list(NOT_TERMINATED)}]
        for reservation in self.pages("ec2", "describe_instances", "Reservations", Filters=not_terminated):
            yield from reservation["Instances"]

    def load_balancers(self) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Yield the load balancers with their tags."""
        return self._tagged("LoadBalancerArn", self.pages("elbv2", "describe_load_balancers", "LoadBalancers"))

    def target_groups(self) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        """Yield the target groups with their tags."""
        return self._tagged("TargetGroupArn", self.pages("elbv2", "describe_target_groups", "TargetGroups"))

    def _tagged(self, key: str, resources: Iterator[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
        by_arn = {resource[key]: resource for resource in resources}
        arns = list(by_arn)
        for start in range(0, len(arns), MAX_TAG_ARNS):
            answer = self.client("elbv2").describe_tags(ResourceArns=arns[start : start + MAX_TAG_ARNS])
            for description in answer["TagDescriptions"]:
                yield by_arn[description["ResourceArn"]], as_dict(description["Tags"])

    def jobs(self) -> Iterator[Job]:
        """Yield the SageMaker jobs that have not ended, of the whole account."""
        for kind in ("training", "processing"):
            title = kind.title()
            for status in ("InProgress", "Stopping"):
                summaries = self.pages("sagemaker", f"list_{kind}_jobs", f"{title}JobSummaries", StatusEquals=status)
                for job in summaries:
                    yield Job(kind, job[f"{title}JobArn"], job[f"{title}JobName"], status, job["CreationTime"])

    def our_jobs(self) -> Iterator[Job]:
        """Yield those of this environment."""
        return (job for job in self.jobs() if job.name.startswith(settings().prefix))

    def job_streams(self, group: str) -> Iterator[str]:
        """Yield the streams of this environment's jobs in a log group below JOB_LOGS."""
        streams = self.pages(
            "logs", "describe_log_streams", "logStreams", logGroupName=group, logStreamNamePrefix=settings().prefix
        )
        return (stream["logStreamName"] for stream in streams)
