"""What of ours runs in the account and costs by the hour: instances, load balancers, SageMaker jobs."""

from __future__ import annotations

from typing import Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.ec2 import EC2Hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.settings import CLUSTER_NAME, PROJECT, settings
from retail_mlops.hooks.inventory import BATCH, as_dict
from retail_mlops.inventory import cluster_in
from retail_mlops.scaling import Balancer, Instance, Job

NOT_TERMINATED: Final = ("pending", "running", "shutting-down", "stopping", "stopped")


def _is_ours(tags: dict[str, str]) -> bool:
    of_environment = tags.get("Project") == PROJECT and tags.get("Environment") == settings().environment
    return cluster_in(tags) == CLUSTER_NAME or of_environment


class RunningHook:
    """Everything by listing, with the cluster's tags or the environment's; nothing is changed."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        self.options: dict[str, Any] = {"aws_conn_id": aws_conn_id, "region_name": settings().region}

    def instances(self) -> list[Instance]:
        """EC2 instances that are not terminated."""
        pages = EC2Hook(api_type="client_type", **self.options).conn.get_paginator("describe_instances")
        alive = [{"Name": "instance-state-name", "Values": list(NOT_TERMINATED)}]
        return [
            Instance(
                id=one["InstanceId"],
                type=one["InstanceType"],
                state=one["State"]["Name"],
                spot=one.get("InstanceLifecycle") == "spot",
                node_group=tags.get("eks:nodegroup-name", ""),
            )
            for page in pages.paginate(Filters=alive)
            for reservation in page["Reservations"]
            for one in reservation["Instances"]
            if _is_ours(tags := as_dict(one.get("Tags", [])))
        ]

    def balancers(self) -> list[Balancer]:
        elb = AwsBaseHook(client_type="elbv2", **self.options).conn
        pages = elb.get_paginator("describe_load_balancers").paginate()
        all_of_them = {one["LoadBalancerArn"]: one for page in pages for one in page["LoadBalancers"]}
        arns, found = list(all_of_them), []
        for start in range(0, len(arns), BATCH):
            for described in elb.describe_tags(ResourceArns=arns[start : start + BATCH])["TagDescriptions"]:
                tags, one = as_dict(described["Tags"]), all_of_them[described["ResourceArn"]]
                if _is_ours(tags):
                    public = one.get("Scheme") == "internet-facing"
                    found.append(
                        Balancer(
                            name=one["LoadBalancerName"],
                            addresses=len(one["AvailabilityZones"]) if public else 0,
                            service=tags.get("kubernetes.io/service-name", tags.get("service.k8s.aws/stack", "")),
                        )
                    )
        return found

    def jobs(self) -> list[Job]:
        """SageMaker jobs of the environment that are under way."""
        sagemaker = SageMakerHook(**self.options)
        wanted = {"NameContains": f"mlops-retail-{settings().environment}-", "StatusEquals": "InProgress"}
        return [
            *(
                Job(kind="training", name=one["TrainingJobName"], since=one["CreationTime"])
                for one in sagemaker.list_training_jobs(**wanted)
            ),
            *(
                Job(kind="processing", name=one["ProcessingJobName"], since=one["CreationTime"])
                for one in sagemaker.list_processing_jobs(**wanted)
            ),
        ]
