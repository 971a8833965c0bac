"""Load balancer records for Services of type LoadBalancer: what EKS's service controller creates.

The process nodes serve the traffic itself, at the Service's port on loopback. As on AWS, the record goes with the
Service; a Service that exists when its cluster is deleted leaves its load balancer behind.
"""

from typing import Any

from botocore.exceptions import ClientError

from local.aws import root
from local.aws.eks.api_client import ApiServer


def name_of(service: dict[str, Any]) -> str:
    """Return the load balancer's name as the service controller chooses it: a and the Service's uid, 32 characters."""
    uid = str(service["metadata"]["uid"])
    return ("a" + uid.replace("-", ""))[:32]


class Balancers:
    """The load balancer records of one cluster."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.records: dict[str, str] | None = None
        """Name → ARN; None until they were listed."""

    @property
    def _tag(self) -> str:
        return f"kubernetes.io/cluster/{self.cluster}"

    def sync(self, api: ApiServer, subnets: list[str]) -> None:
        """Create and delete records until they match the Services that exist."""
        services = [service for service in api.items("/api/v1/services") if service["spec"]["type"] == "LoadBalancer"]
        wanted = {name_of(service): service for service in services}
        if self.records is None:
            self.records = self._list()
        for name in self.records.keys() - wanted.keys():
            _delete(self.records[name])
            del self.records[name]
        for name in wanted.keys() - self.records.keys():
            self.records[name] = self._create(name, wanted[name], subnets)

    def _list(self) -> dict[str, str]:
        """Return name → ARN of the load balancers with this cluster's tag."""
        elb = root.client("elbv2")
        records = {}
        for page in elb.get_paginator("describe_load_balancers").paginate():
            for balancer in page["LoadBalancers"]:
                arn = balancer["LoadBalancerArn"]
                tags = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
                if any(tag["Key"] == self._tag for tag in tags):
                    records[balancer["LoadBalancerName"]] = arn
        return records

    def _create(self, name: str, service: dict[str, Any], subnets: list[str]) -> str:
        metadata = service["metadata"]
        [balancer] = root.client("elbv2").create_load_balancer(
            Name=name,
            Type="network",
            Scheme="internet-facing",
            Subnets=subnets,
            Tags=[
                {"Key": self._tag, "Value": "owned"},
                {"Key": "kubernetes.io/service-name", "Value": f"{metadata['namespace']}/{metadata['name']}"},
            ],
        )["LoadBalancers"]
        return str(balancer["LoadBalancerArn"])


def _delete(arn: str) -> None:
    try:
        root.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] != "LoadBalancerNotFound":
            raise
