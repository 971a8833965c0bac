"""Load balancer records for Services of type LoadBalancer: what EKS's service controller makes.

The traffic itself is served by the process nodes, at the Service's port on loopback. As on AWS, the record goes with
the Service; a Service that is still there when its cluster is deleted leaves its load balancer behind.
"""

from typing import Any

from botocore.exceptions import ClientError

from local.aws import root
from local.aws.eks.api_client import ApiServer


def name_of(service: dict[str, Any]) -> str:
    """As the service controller names it: a and the Service's uid, 32 characters."""
    return ("a" + service["metadata"]["uid"].replace("-", ""))[:32]


class Balancers:
    """The records of one cluster."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.known: dict[str, str] | None = None
        """Name → ARN; None until they were listed."""

    @property
    def _tag(self) -> str:
        return f"kubernetes.io/cluster/{self.cluster}"

    def _listed(self) -> dict[str, str]:
        elb = root.client("elbv2")
        pages = elb.get_paginator("describe_load_balancers").paginate()
        all_of_them = {
            one["LoadBalancerArn"]: one["LoadBalancerName"] for page in pages for one in page["LoadBalancers"]
        }
        ours = {}
        for arn, name in all_of_them.items():
            tags = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"]
            if any(tag["Key"] == self._tag for tag in tags):
                ours[name] = arn
        return ours

    def sync(self, api: ApiServer, subnets: list[str]) -> None:
        """Make the records match the Services that there are."""
        services = [s for s in api.items("/api/v1/services") if s["spec"]["type"] == "LoadBalancer"]
        wanted = {name_of(service): service for service in services}
        if self.known is None:
            self.known = self._listed()
        elb = root.client("elbv2")
        for name in self.known.keys() - wanted.keys():
            try:
                elb.delete_load_balancer(LoadBalancerArn=self.known[name])
            except ClientError as error:
                if error.response["Error"]["Code"] != "LoadBalancerNotFound":
                    raise
            del self.known[name]
        for name in wanted.keys() - self.known.keys():
            about = wanted[name]["metadata"]
            made = elb.create_load_balancer(
                Name=name,
                Type="network",
                Scheme="internet-facing",
                Subnets=subnets,
                Tags=[
                    {"Key": self._tag, "Value": "owned"},
                    {"Key": "kubernetes.io/service-name", "Value": f"{about['namespace']}/{about['name']}"},
                ],
            )
            self.known[name] = made["LoadBalancers"][0]["LoadBalancerArn"]
