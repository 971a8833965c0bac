"""Deletes what the environment's stacks and DAGs made, and nothing else: by the stacks' own records, not by prefix.

What merely looks like the environment's is never deleted here: the inventory names it and a person decides. Every
call may be repeated: what is gone already is fine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from include import lake
from include.settings import CLUSTER_NAME, settings
from retail_mlops.hooks.account import JOB_LOGS, Clients, as_dict, code
from retail_mlops.teardown.inventory import CLUSTER_LOGS, cluster_in

GONE: Final = (
    "ResourceNotFoundException",
    "ResourceNotFound",
    "NoSuchBucket",
    "NoSuchEntity",
    "LoadBalancerNotFound",
    "TargetGroupNotFound",
    "RepositoryNotFoundException",
    "InvalidNetworkInterfaceID.NotFound",
    "InvalidGroup.NotFound",
)
IMAGES: Final = 100
"""BatchDeleteImage takes so many."""
OBJECTS: Final = 1000
"""DeleteObjects takes so many, and a page of a listing holds no more."""
SHOWN: Final = 20
"""Failures that a message names one by one."""
KEY_PENDING_DAYS: Final = 7
"""The shortest that KMS allows."""


def listed(failures: list[str]) -> str:
    more = f"\n… and {len(failures) - SHOWN} more" if len(failures) > SHOWN else ""
    return "\n".join(failures[:SHOWN]) + more


class TeardownHook(Clients):
    """The deletions of `teardown`, one method a step."""

    # --- what the stacks made ---
    def stacks(self) -> dict[str, str]:
        """Name → status of the account's stacks that exist."""
        found = self.pages("cloudformation", "describe_stacks", "Stacks")
        return {one["StackName"]: one["StackStatus"] for one in found if one["StackStatus"] != "DELETE_COMPLETE"}

    def made(self, component: str, kind: str) -> list[str]:
        """Physical ids of the resources of one type that a stack of ours still has; none without the stack."""
        try:
            found = list(
                self.pages(
                    "cloudformation",
                    "list_stack_resources",
                    "StackResourceSummaries",
                    StackName=settings().stack(component),
                )
            )
        except ClientError as error:
            if code(error) != "ValidationError":
                raise
            return []
        return [
            one["PhysicalResourceId"]
            for one in found
            if one["ResourceType"] == kind
            and one.get("PhysicalResourceId")
            and one["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    # --- jobs ---
    def stop_jobs(self, timeout: float, poll: float) -> list[str]:
        """Stops the environment's running SageMaker jobs and waits until they have ended; their names."""
        stopped, until = [], time.monotonic() + timeout
        while running := list(self.our_jobs()):
            for job in running:
                if job.status == "InProgress":
                    self.log.info("stopping %s job %s", job.kind, job.name)
                    self._stop(job.kind, job.name)
                    stopped.append(job.name)
            if time.monotonic() > until:
                raise AirflowException(f"after {timeout:.0f} s these jobs still run: {[job.name for job in running]}")
            time.sleep(poll)
        return stopped

    def _stop(self, kind: str, name: str) -> None:
        try:
            getattr(self.client("sagemaker"), f"stop_{kind}_job")(**{f"{kind.title()}JobName": name})
        except ClientError as error:
            if code(error) not in (*GONE, "ValidationException"):  # it ended meanwhile
                raise

    # --- cluster ---
    def cluster_status(self) -> str:
        """Status of the cluster if our stack made it; "" when there is none, or it is another environment's."""
        if CLUSTER_NAME not in self.made("cluster", "AWS::EKS::Cluster"):
            return ""
        try:
            return self.client("eks").describe_cluster(name=CLUSTER_NAME)["cluster"]["status"]
        except ClientError as error:
            if code(error) not in GONE:
                raise
            return ""

    def cluster_name_is_ours(self) -> bool:
        """Whether what is called after the cluster is ours.

        Not when another environment has a stack of that component, nor when there is such a cluster that no stack of
        ours made.
        """
        others = self.stacks().keys() - {settings().stack("cluster")}
        if any(name.startswith("mlops-retail-") and name.endswith("-cluster") for name in others):
            return False
        try:
            self.client("eks").describe_cluster(name=CLUSTER_NAME)
        except ClientError as error:
            if code(error) not in GONE:
                raise
            return True
        return CLUSTER_NAME in self.made("cluster", "AWS::EKS::Cluster")

    def balancers(self) -> dict[str, str]:
        """ARN → name of the load balancers that Services of our cluster asked for."""
        if not self.cluster_name_is_ours():
            return {}
        return {
            one["LoadBalancerArn"]: one["LoadBalancerName"]
            for one, tags in self.load_balancers()
            if cluster_in(tags) == CLUSTER_NAME
        }

    def delete_orphaned_balancers(self) -> list[str]:
        """Load balancers whose cluster is gone, and their target groups; their names."""
        orphans = self.balancers()
        for arn, name in orphans.items():
            self.log.info("load balancer %s has lost its cluster: deleting it", name)
            self._unless_gone("elbv2", "delete_load_balancer", LoadBalancerArn=arn)
        if self.cluster_name_is_ours():
            for one, tags in list(self.target_groups()):
                if cluster_in(tags) == CLUSTER_NAME:
                    self._unless_gone("elbv2", "delete_target_group", TargetGroupArn=one["TargetGroupArn"])
        return list(orphans.values())

    # --- registry ---
    def delete_images(self) -> int:
        """Empties the repositories of our registry stack; how many images went. AirflowException names what stayed."""
        count, failures = 0, []
        for repository in self.made("registry", "AWS::ECR::Repository"):
            went, stayed = self._empty_repository(repository)
            count, failures = count + went, failures + stayed
        if failures:
            raise AirflowException(f"{len(failures)} images stayed:\n{listed(failures)}")
        return count

    def _empty_repository(self, name: str) -> tuple[int, list[str]]:
        """An index goes before the images that it names, which is why this takes rounds."""
        client, went = self.client("ecr"), 0
        while True:
            try:
                found = self.pages("ecr", "list_images", "imageIds", repositoryName=name)
                digests = sorted({image["imageDigest"] for image in found})
            except ClientError as error:
                if code(error) not in GONE:
                    raise
                return went, []
            failures, before = [], went
            for begin in range(0, len(digests), IMAGES):
                ids = [{"imageDigest": digest} for digest in digests[begin : begin + IMAGES]]
                answer = client.batch_delete_image(repositoryName=name, imageIds=ids)
                failed = {one["imageId"].get("imageDigest", "") for one in answer["failures"]}
                went += sum(one["imageDigest"] not in failed for one in ids)
                failures += [
                    f"{name}@{one['imageId'].get('imageDigest')}: {one.get('failureCode')}: {one.get('failureReason')}"
                    for one in answer["failures"]
                ]
            if not failures or went == before:
                return went, failures

    def delete_packages(self) -> int:
        """Every version in the group of our registry stack; how many. The group goes with its stack."""
        count = 0
        for group in self.made("registry", "AWS::SageMaker::ModelPackageGroup"):
            name = group.rpartition("/")[2]
            packages = self.pages(
                "sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=name
            )
            try:
                arns = [package["ModelPackageArn"] for package in packages]
            except ClientError as error:
                if "does not exist" not in str(error):
                    raise
                continue
            for arn in arns:
                self.client("sagemaker").delete_model_package(ModelPackageName=arn)
            count += len(arns)
        return count

    # --- logs ---
    def delete_logs(self) -> list[str]:
        """Groups that EKS made for our cluster, and our jobs' streams in the groups that SageMaker shares."""
        went: list[str] = []
        if self.cluster_name_is_ours():
            for prefix in CLUSTER_LOGS:
                for group in list(self.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)):
                    self._unless_gone("logs", "delete_log_group", logGroupName=group["logGroupName"])
                    went.append(group["logGroupName"])
        for group in list(self.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=JOB_LOGS)):
            name = group["logGroupName"]
            for stream in list(self.job_streams(name)):
                self._unless_gone("logs", "delete_log_stream", logGroupName=name, logStreamName=stream)
                went.append(f"{name}: {stream}")
        return went

    # --- buckets ---
    def forget_scaled_down(self) -> None:
        """Of a lake that is kept: the record would hold up the next environment, and speaks of one that is gone."""
        for bucket in self.made("lake", "AWS::S3::Bucket"):
            self._unless_gone("s3", "delete_object", Bucket=bucket, Key=lake.SCALED_DOWN)

    def empty_buckets(self, component: str) -> int:
        """All object versions and delete markers of the buckets of a stack of ours; how many went."""
        return sum(self.empty_bucket(bucket) for bucket in self.made(component, "AWS::S3::Bucket"))

    def empty_bucket(self, bucket: str) -> int:
        """How many versions and markers went. AirflowException names each key that stayed, and why.

        In passes, until one finds nothing more to take away: a listing that goes on while its items are deleted may
        miss some.
        """
        went = 0
        while True:
            gone, failures = self._one_pass(bucket)
            went += gone
            if not gone:
                break
        if failures:
            raise AirflowException(f"{len(failures)} object versions of {bucket} stayed:\n{listed(failures)}")
        return went

    def _one_pass(self, bucket: str) -> tuple[int, list[str]]:
        gone, failures = 0, []
        pages = self.client("s3").get_paginator("list_object_versions")
        try:
            for page in pages.paginate(Bucket=bucket, PaginationConfig={"PageSize": OBJECTS}):
                both = page.get("Versions", []) + page.get("DeleteMarkers", [])
                if not both:
                    continue
                batch = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in both]
                answer = self.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
                failed = answer.get("Errors", [])
                gone += len(batch) - len(failed)
                failures += [
                    f"{one['Key']} ({one.get('VersionId')}): {one['Code']}: {one.get('Message')}" for one in failed
                ]
        except ClientError as error:
            if code(error) not in GONE:
                raise
        return gone, failures

    # --- network ---
    def free_network(self, component: str) -> list[str]:
        """Interfaces and security groups that others left in a VPC of our stack and that block its deletion.

        Unattached interfaces go, attached ones are named; of the security groups those go that the cluster's load
        balancers had. Returns what still blocks.
        """
        blocking: list[str] = []
        for vpc in self.made(component, "AWS::EC2::VPC"):
            inside = [{"Name": "vpc-id", "Values": [vpc]}]
            for one in list(self.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=inside)):
                name = one["NetworkInterfaceId"]
                if one.get("VpcId") != vpc:  # what is deleted here must not hang on a filter alone
                    continue
                if one["Status"] == "available":
                    self.log.info("deleting interface %s (%s), which nothing uses", name, one.get("Description"))
                    self._unless_gone("ec2", "delete_network_interface", NetworkInterfaceId=name)
                elif one.get("InterfaceType") != "vpc_endpoint":  # those go with their endpoints
                    user = one.get("Attachment", {}).get("InstanceId") or one.get("RequesterId", "")
                    blocking.append(f"{name} is {one['Status']} ({one.get('Description', '')}; {user})")
            for one in list(self.pages("ec2", "describe_security_groups", "SecurityGroups", Filters=inside)):
                if one.get("VpcId") == vpc and cluster_in(as_dict(one.get("Tags"))) == CLUSTER_NAME:
                    self._unless_gone("ec2", "delete_security_group", GroupId=one["GroupId"])
        return blocking

    # --- what DeletionPolicy Retain left ---
    def delete_retained(self, keep: frozenset[str]) -> tuple[list[str], list[str]]:
        """(deleted, left to a person): what our deleted stacks skipped; keep: physical ids that stay."""
        went, left = [], []
        for kind, name in sorted(set(self._skipped())):
            if name in keep:
                continue
            if kind == "AWS::S3::Bucket":
                self.empty_bucket(name)
                self._unless_gone("s3", "delete_bucket", Bucket=name)
            elif kind == "AWS::Logs::LogGroup":
                self._unless_gone("logs", "delete_log_group", logGroupName=name)
            elif kind == "AWS::KMS::Key":
                self._retire_key(name)
            else:
                left.append(f"{kind} {name}")
                continue
            went.append(f"{kind} {name}")
        return went, left

    def _skipped(self) -> Iterator[tuple[str, str]]:
        deleted = self.pages("cloudformation", "list_stacks", "StackSummaries", StackStatusFilter=["DELETE_COMPLETE"])
        for stack in list(deleted):
            if not stack["StackName"].startswith(settings().prefix):
                continue
            for event in self.pages(
                "cloudformation", "describe_stack_events", "StackEvents", StackName=stack["StackId"]
            ):
                if event["ResourceStatus"] == "DELETE_SKIPPED" and event.get("PhysicalResourceId"):
                    yield event["ResourceType"], event["PhysicalResourceId"]

    def _retire_key(self, key: str) -> None:
        try:
            self.client("kms").schedule_key_deletion(KeyId=key, PendingWindowInDays=KEY_PENDING_DAYS)
        except ClientError as error:
            if code(error) not in ("NotFoundException", "KMSInvalidStateException"):  # gone, or pending already
                raise

    def _unless_gone(self, service: str, operation: str, **request: Any) -> None:
        try:
            getattr(self.client(service), operation)(**request)
        except ClientError as error:
            if code(error) not in GONE:
                raise
