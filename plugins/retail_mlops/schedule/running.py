"""What of ours runs in the account and costs by the hour: instances, load balancers, SageMaker jobs."""

from __future__ import annotations

from typing import Final

from include.settings import CLUSTER_NAME, settings
from retail_mlops.hooks.account import Clients, as_dict
from retail_mlops.schedule.records import Balancer, Instance, Job
from retail_mlops.teardown.inventory import INGRESS_TAG, cluster_in, environment_of

MADE_FOR: Final = ("kubernetes.io/service-name", "service.k8s.aws/stack", INGRESS_TAG)
"""Tags of a load balancer that name its Service or Ingress."""


def _is_ours(tags: dict[str, str]) -> bool:
    return cluster_in(tags) == CLUSTER_NAME or environment_of(tags) == settings().environment


class RunningHook:
    """Everything by listing, with the cluster's tags or the environment's; nothing is changed."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        self.account = Clients(aws_conn_id)

    def instances(self) -> list[Instance]:
        """EC2 instances that are not terminated."""
        return [
            Instance(
                id=one["InstanceId"],
                type=one["InstanceType"],
                state=one["State"]["Name"],
                spot=one.get("InstanceLifecycle") == "spot",
                node_group=tags.get("eks:nodegroup-name", ""),
            )
            for one in self.account.instances()
            if _is_ours(tags := as_dict(one.get("Tags")))
        ]

    def balancers(self) -> list[Balancer]:
        return [
            Balancer(
                name=one["LoadBalancerName"],
                addresses=len(one["AvailabilityZones"]) if one.get("Scheme") == "internet-facing" else 0,
                service=next((tags[tag] for tag in MADE_FOR if tag in tags), ""),
            )
            for one, tags in self.account.load_balancers()
            if _is_ours(tags)
        ]

    def jobs(self) -> list[Job]:
        return [Job(kind=one.kind, name=one.name, since=one.since) for one in self.account.our_jobs()]
