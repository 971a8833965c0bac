"""What of this environment runs in the account and costs by the hour: instances, load balancers, SageMaker jobs."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from retail_mlops.common.ownership import INGRESS_TAG, is_ours
from retail_mlops.common.scale_record import Job
from retail_mlops.hooks.account import Clients, as_dict

MADE_FOR_TAGS: Final = ("kubernetes.io/service-name", "service.k8s.aws/stack", INGRESS_TAG)
"""Tags of a load balancer that name its Service or Ingress."""


class Instance(BaseModel):
    """An EC2 instance of this environment that is not terminated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    type: str
    state: str
    spot: bool = False
    node_group: str = ""
    """The one that started it, and terminates it."""


class Balancer(BaseModel):
    """An elastic load balancer of this environment; addresses: how many public IPv4 addresses it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    addresses: int
    service: str = ""
    """The Kubernetes Service or Ingress that it was made for, and is removed with."""


class RunningResourcesHook:
    """Lists what has the cluster's or the environment's tags; changes nothing."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        self._account = Clients(aws_conn_id)

    def instances(self) -> list[Instance]:
        """Return the EC2 instances that are not terminated."""
        return [
            Instance(
                id=instance["InstanceId"],
                type=instance["InstanceType"],
                state=instance["State"]["Name"],
                spot=instance.get("InstanceLifecycle") == "spot",
                node_group=tags.get("eks:nodegroup-name", ""),
            )
            for instance in self._account.instances()
            if is_ours(tags := as_dict(instance.get("Tags")))
        ]

    def balancers(self) -> list[Balancer]:
        return [
            Balancer(
                name=balancer["LoadBalancerName"],
                addresses=len(balancer["AvailabilityZones"]) if balancer.get("Scheme") == "internet-facing" else 0,
                service=next((tags[tag] for tag in MADE_FOR_TAGS if tag in tags), ""),
            )
            for balancer, tags in self._account.load_balancers()
            if is_ours(tags)
        ]

    def jobs(self) -> list[Job]:
        return [Job(kind=job.kind, name=job.name, since=job.since) for job in self._account.our_jobs()]
