"""Deletes what the environment's stacks and DAGs made, and nothing else: by the stacks' own records, not by prefix.

What only looks like the environment's is never deleted here: the inventory names it and a person decides. Every call
may be repeated: a resource that is gone already is no error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException
from botocore.exceptions import ClientError

from include import lake
from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.ownership import cluster_of
from retail_mlops.common.polling import wait_until
from retail_mlops.hooks.account import JOB_LOGS, Clients, as_dict
from retail_mlops.hooks.aws_errors import error_code
from retail_mlops.teardown.inventory import CLUSTER_LOGS

GONE_CODES: Final = (
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
MAX_IMAGES: Final = 100
"""How many images BatchDeleteImage accepts."""
MAX_OBJECTS: Final = 1000
"""How many objects DeleteObjects accepts, and a page of a listing has at most."""
MAX_FAILURES: Final = 20
"""How many failures a message names."""
KEY_PENDING_DAYS: Final = 7
"""The shortest that KMS allows."""


def failure_text(failures: list[str]) -> str:
    """Return the first failures, a line each, and how many more there are."""
    more = f"\n… and {len(failures) - MAX_FAILURES} more" if len(failures) > MAX_FAILURES else ""
    return "\n".join(failures[:MAX_FAILURES]) + more


class TeardownHook(Clients):
    """The deletions of `teardown`, one method for each step."""

    # --- what the stacks made ---
    def stacks(self) -> dict[str, str]:
        """Return name → status of the account's stacks that exist."""
        stacks = self.pages("cloudformation", "describe_stacks", "Stacks")
        return {s["StackName"]: s["StackStatus"] for s in stacks if s["StackStatus"] != "DELETE_COMPLETE"}

    def made_by_stack(self, component: str, type_: str) -> list[str]:
        """Return the physical ids of the resources of a type that the environment's stack still has."""
        try:
            resources = list(
                self.pages(
                    "cloudformation",
                    "list_stack_resources",
                    "StackResourceSummaries",
                    StackName=settings().stack(component),
                )
            )
        except ClientError as error:
            if error_code(error) != "ValidationError":
                raise
            return []
        return [
            resource["PhysicalResourceId"]
            for resource in resources
            if resource["ResourceType"] == type_
            and resource.get("PhysicalResourceId")
            and resource["ResourceStatus"] != "DELETE_COMPLETE"
        ]

    # --- jobs ---
    def stop_jobs(self, timeout: float, poll: float) -> list[str]:
        """Stop the environment's SageMaker jobs and wait until they have ended; return their names."""
        stopped: list[str] = []

        def stop_running() -> list[str]:
            running = list(self.our_jobs())
            for job in running:
                if job.status == "InProgress":
                    self.log.info("Stopping %s job %s", job.kind, job.name)
                    self._stop(job.kind, job.name)
                    stopped.append(job.name)
            return [job.name for job in running]

        wait_until(
            stop_running,
            ", ".join,
            timeout=timeout,
            poll=poll,
            timeout_error=lambda names: AirflowException(f"after {timeout:.0f} s these jobs still run: {names}"),
            log=self.log,
        )
        return stopped

    def _stop(self, kind: str, name: str) -> None:
        try:
            getattr(self.client("sagemaker"), f"stop_{kind}_job")(**{f"{kind.title()}JobName": name})
        except ClientError as error:
            if error_code(error) not in (*GONE_CODES, "ValidationException"):  # it ended meanwhile
                raise

    # --- cluster ---
    def cluster_status(self) -> str:
        """Return the status of the cluster if this environment's stack made it; "" otherwise."""
        if CLUSTER_NAME not in self.made_by_stack("cluster", "AWS::EKS::Cluster"):
            return ""
        try:
            return str(self.client("eks").describe_cluster(name=CLUSTER_NAME)["cluster"]["status"])
        except ClientError as error:
            if error_code(error) not in GONE_CODES:
                raise
            return ""

    def owns_cluster_name(self) -> bool:
        """Return whether resources that are named after the cluster belong to this environment.

        They do not when another environment has a cluster stack, or a cluster exists that this environment's stack did
        not make.
        """
        others = self.stacks().keys() - {settings().stack("cluster")}
        if any(name.startswith("mlops-retail-") and name.endswith("-cluster") for name in others):
            return False
        try:
            self.client("eks").describe_cluster(name=CLUSTER_NAME)
        except ClientError as error:
            if error_code(error) not in GONE_CODES:
                raise
            return True
        return CLUSTER_NAME in self.made_by_stack("cluster", "AWS::EKS::Cluster")

    def balancers(self) -> dict[str, str]:
        """Return ARN → name of the load balancers that were made for Services of this environment's cluster."""
        if not self.owns_cluster_name():
            return {}
        return {
            balancer["LoadBalancerArn"]: balancer["LoadBalancerName"]
            for balancer, tags in self.load_balancers()
            if cluster_of(tags) == CLUSTER_NAME
        }

    def delete_orphaned_balancers(self) -> list[str]:
        """Delete load balancers whose cluster is gone, and their target groups; return their names."""
        orphans = self.balancers()
        for arn, name in orphans.items():
            self.log.info("Load balancer %s has lost its cluster: deleting it", name)
            self._unless_gone("elbv2", "delete_load_balancer", LoadBalancerArn=arn)
        if self.owns_cluster_name():
            for group, tags in list(self.target_groups()):
                if cluster_of(tags) == CLUSTER_NAME:
                    self._unless_gone("elbv2", "delete_target_group", TargetGroupArn=group["TargetGroupArn"])
        return list(orphans.values())

    # --- registry ---
    def delete_images(self) -> int:
        """Empty the repositories of the registry stack; return how many images went. AirflowException names others."""
        count = 0
        failures: list[str] = []
        for repository in self.made_by_stack("registry", "AWS::ECR::Repository"):
            deleted, refused = self._empty_repository(repository)
            count += deleted
            failures += refused
        if failures:
            raise AirflowException(f"{len(failures)} images could not be deleted:\n{failure_text(failures)}")
        return count

    def _empty_repository(self, name: str) -> tuple[int, list[str]]:
        """Delete the images of a repository in rounds, for an index goes before the images that it names.

        Return how many went, and what could not be deleted.
        """
        total = 0
        while True:
            try:
                images = self.pages("ecr", "list_images", "imageIds", repositoryName=name)
                digests = sorted({image["imageDigest"] for image in images})
            except ClientError as error:
                if error_code(error) not in GONE_CODES:
                    raise
                return total, []
            deleted, failures = self._delete_digests(name, digests)
            total += deleted
            if not failures or not deleted:
                return total, failures

    def _delete_digests(self, repository: str, digests: list[str]) -> tuple[int, list[str]]:
        deleted = 0
        failures: list[str] = []
        for start in range(0, len(digests), MAX_IMAGES):
            batch = digests[start : start + MAX_IMAGES]
            answer = self.client("ecr").batch_delete_image(
                repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in batch]
            )
            failed = {failure["imageId"].get("imageDigest", ""): failure for failure in answer["failures"]}
            deleted += sum(digest not in failed for digest in batch)
            failures += [
                f"{repository}@{digest}: {failure.get('failureCode')}: {failure.get('failureReason')}"
                for digest, failure in failed.items()
            ]
        return deleted, failures

    def delete_packages(self) -> int:
        """Delete every version in the group of the registry stack; return how many. The group goes with its stack."""
        count = 0
        for group in self.made_by_stack("registry", "AWS::SageMaker::ModelPackageGroup"):
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
        """Delete the groups that EKS made for the cluster, and the jobs' streams in SageMaker's shared groups."""
        deleted: list[str] = []
        if self.owns_cluster_name():
            for prefix in CLUSTER_LOGS:
                for group in list(self.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=prefix)):
                    self._unless_gone("logs", "delete_log_group", logGroupName=group["logGroupName"])
                    deleted.append(group["logGroupName"])
        for group in list(self.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=JOB_LOGS)):
            name = group["logGroupName"]
            for stream in list(self.job_streams(name)):
                self._unless_gone("logs", "delete_log_stream", logGroupName=name, logStreamName=stream)
                deleted.append(f"{name}: {stream}")
        return deleted

    # --- buckets ---
    def delete_scale_record(self) -> None:
        """Delete the record of a scale_down from a lake that is kept: it would block the next environment."""
        for bucket in self.made_by_stack("lake", "AWS::S3::Bucket"):
            self._unless_gone("s3", "delete_object", Bucket=bucket, Key=lake.SCALED_DOWN)

    def empty_buckets(self, component: str) -> int:
        """Delete all object versions and delete markers in the buckets of a stack; return how many."""
        return sum(self.empty_bucket(bucket) for bucket in self.made_by_stack(component, "AWS::S3::Bucket"))

    def empty_bucket(self, bucket: str) -> int:
        """Delete all object versions and markers; return how many. AirflowException names what could not be deleted.

        In passes, until one deletes nothing: a listing may miss items while others are deleted.
        """
        total = 0
        while True:
            deleted, failures = self._delete_versions(bucket)
            total += deleted
            if not deleted:
                break
        if failures:
            raise AirflowException(
                f"{len(failures)} object versions of {bucket} could not be deleted:\n{failure_text(failures)}"
            )
        return total

    def _delete_versions(self, bucket: str) -> tuple[int, list[str]]:
        """Delete what one listing names; return how many went, and what could not be deleted."""
        deleted = 0
        failures: list[str] = []
        pages = self.client("s3").get_paginator("list_object_versions")
        try:
            for page in pages.paginate(Bucket=bucket, PaginationConfig={"PageSize": MAX_OBJECTS}):
                items = page.get("Versions", []) + page.get("DeleteMarkers", [])
                if not items:
                    continue
                batch = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in items]
                answer = self.client("s3").delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
                errors = answer.get("Errors", [])
                deleted += len(batch) - len(errors)
                failures += [
                    f"{error['Key']} ({error.get('VersionId')}): {error['Code']}: {error.get('Message')}"
                    for error in errors
                ]
        except ClientError as error:
            if error_code(error) not in GONE_CODES:
                raise
        return deleted, failures

    # --- network ---
    def free_network(self, component: str) -> list[str]:
        """Delete interfaces and security groups that block the deletion of the stack's VPC; return what still blocks.

        Unattached interfaces are deleted, attached ones are returned; of the security groups, those of the cluster's
        load balancers are deleted.
        """
        blocking: list[str] = []
        for vpc in self.made_by_stack(component, "AWS::EC2::VPC"):
            blocking += self._free_interfaces(vpc)
            for group in list(self._in_vpc("describe_security_groups", "SecurityGroups", vpc)):
                if cluster_of(as_dict(group.get("Tags"))) == CLUSTER_NAME:
                    self._unless_gone("ec2", "delete_security_group", GroupId=group["GroupId"])
        return blocking

    def _free_interfaces(self, vpc: str) -> list[str]:
        """Delete the unattached interfaces of a VPC; return the attached ones."""
        blocking = []
        for interface in list(self._in_vpc("describe_network_interfaces", "NetworkInterfaces", vpc)):
            name, description = interface["NetworkInterfaceId"], interface.get("Description", "")
            if interface["Status"] == "available":
                self.log.info("Deleting interface %s (%s), which nothing uses", name, description)
                self._unless_gone("ec2", "delete_network_interface", NetworkInterfaceId=name)
            elif interface.get("InterfaceType") != "vpc_endpoint":  # those go with their endpoints
                user = interface.get("Attachment", {}).get("InstanceId") or interface.get("RequesterId", "")
                blocking.append(f"{name} is {interface['Status']} ({description}; {user})")
        return blocking

    def _in_vpc(self, operation: str, key: str, vpc: str) -> Iterator[dict[str, Any]]:
        """Yield the items of a listing that lie in a VPC; a deletion must not depend on the request's filter alone."""
        items = self.pages("ec2", operation, key, Filters=[{"Name": "vpc-id", "Values": [vpc]}])
        return (item for item in items if item.get("VpcId") == vpc)

    # --- what DeletionPolicy Retain left ---
    def delete_retained(self, keep: frozenset[str]) -> tuple[list[str], list[str]]:
        """Delete what the deleted stacks of the environment retained; keep: physical ids that stay.

        Return (deleted, left for a person to decide).
        """
        deleted: list[str] = []
        left: list[str] = []
        for type_, name in sorted(set(self._skipped())):
            if name in keep:
                continue
            if type_ == "AWS::S3::Bucket":
                self.empty_bucket(name)
                self._unless_gone("s3", "delete_bucket", Bucket=name)
            elif type_ == "AWS::Logs::LogGroup":
                self._unless_gone("logs", "delete_log_group", logGroupName=name)
            elif type_ == "AWS::KMS::Key":
                self._schedule_key_deletion(name)
            else:
                left.append(f"{type_} {name}")
                continue
            deleted.append(f"{type_} {name}")
        return deleted, left

    def _skipped(self) -> Iterator[tuple[str, str]]:
        """Yield (type, physical id) of what deleted stacks skipped."""
        deleted = self.pages("cloudformation", "list_stacks", "StackSummaries", StackStatusFilter=["DELETE_COMPLETE"])
        for stack in list(deleted):
            if not stack["StackName"].startswith(settings().prefix):
                continue
            for event in self.pages(
                "cloudformation", "describe_stack_events", "StackEvents", StackName=stack["StackId"]
            ):
                if event["ResourceStatus"] == "DELETE_SKIPPED" and event.get("PhysicalResourceId"):
                    yield event["ResourceType"], event["PhysicalResourceId"]

    def _schedule_key_deletion(self, key: str) -> None:
        try:
            self.client("kms").schedule_key_deletion(KeyId=key, PendingWindowInDays=KEY_PENDING_DAYS)
        except ClientError as error:
            if error_code(error) not in ("NotFoundException", "KMSInvalidStateException"):  # gone, or pending already
                raise

    def _unless_gone(self, service: str, operation: str, **request: Any) -> None:
        try:
            getattr(self.client(service), operation)(**request)
        except ClientError as error:
            if error_code(error) not in GONE_CODES:
                raise
