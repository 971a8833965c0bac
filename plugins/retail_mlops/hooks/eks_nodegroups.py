"""Sizes of EKS node groups: the provider creates and deletes them, and has nothing that changes one's size.

Its EksNodegroupStateSensor is not used here either: it would wait for a DEGRADED group (no Spot capacity, say) until
its timeout, and one that costs money must be stopped all the same.
"""

from __future__ import annotations

from typing import Any, Final

from airflow.providers.amazon.aws.hooks.eks import EksHook
from botocore.exceptions import ClientError

from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.errors import RetailError
from retail_mlops.common.node_groups import NodeGroup
from retail_mlops.common.polling import wait_until

BUSY: Final = ("ResourceInUseException", "InvalidRequestException")
"""Another update has not finished."""
CHANGING: Final = ("CREATING", "UPDATING")


class NodeGroupHook(EksHook):
    """Node groups of the project's cluster."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)

    def has_cluster(self) -> bool:
        try:
            self.conn.describe_cluster(name=CLUSTER_NAME)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return False
        return True

    def groups(self) -> list[NodeGroup]:
        """Return the cluster's node groups, without those that are being deleted."""
        pages = self.conn.get_paginator("list_nodegroups").paginate(clusterName=CLUSTER_NAME)
        described = [self._describe(name) for page in pages for name in page["nodegroups"]]
        return [_sizes(group) for group in described if group["status"] != "DELETING"]

    def scale(self, wanted: NodeGroup, timeout: float, poll: float) -> None:
        """Set these sizes once no other update of the group is under way; its nodes follow by themselves.

        RetailError when there is no such group, or it still changes after `timeout` seconds; EKS's own error, which is
        retried, when EKS still refuses then.
        """

        def timeout_error(obstacle: str | ClientError) -> Exception:
            if isinstance(obstacle, Exception):
                return obstacle
            return RetailError(f"node group {wanted.name} is still {obstacle}: run this again when that has ended")

        wait_until(
            lambda: self._try_to_scale(wanted),
            lambda obstacle: f"node group {wanted.name}: {obstacle}" if obstacle else "",
            timeout=timeout,
            poll=poll,
            timeout_error=timeout_error,
            log=self.log,
        )

    def _try_to_scale(self, wanted: NodeGroup) -> str | ClientError:
        """Set these sizes; return what is in the way (the group's status, or a refusal), or "" when they are set."""
        group = self._describe(wanted.name)
        if group["status"] in CHANGING:
            return str(group["status"])
        if _sizes(group) == wanted:
            self.log.info("Node group %s has these sizes already: %s", wanted.name, _text(wanted))
            return ""
        sizes = {"minSize": wanted.minimum, "desiredSize": wanted.desired, "maxSize": wanted.maximum}
        try:
            self.conn.update_nodegroup_config(clusterName=CLUSTER_NAME, nodegroupName=wanted.name, scalingConfig=sizes)
        except ClientError as error:
            if error.response["Error"]["Code"] not in BUSY:
                raise
            return error
        self.log.info("Node group %s: %s", wanted.name, _text(wanted))
        return ""

    def issues(self, name: str) -> str:
        """Return what EKS reports to be wrong with a group."""
        issues = self._describe(name).get("health", {}).get("issues", [])
        return "; ".join(f"{issue['code']}: {issue['message']}" for issue in issues) or "EKS names no reason"

    def _describe(self, name: str) -> dict[str, Any]:
        try:
            answer = self.conn.describe_nodegroup(clusterName=CLUSTER_NAME, nodegroupName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise RetailError(
                f"there is no node group {name} in {CLUSTER_NAME}: it was deleted, or provision replaced it while the "
                "environment was down. Remove the record (docs/runbooks/scale.md), then run provision"
            ) from error
        group: dict[str, Any] = answer["nodegroup"]
        return group


def _sizes(group: dict[str, Any]) -> NodeGroup:
    sizes = group["scalingConfig"]
    return NodeGroup(
        name=group["nodegroupName"],
        minimum=sizes["minSize"],
        desired=sizes["desiredSize"],
        maximum=sizes["maxSize"],
    )


def _text(group: NodeGroup) -> str:
    return f"{group.desired} nodes (at least {group.minimum}, at most {group.maximum})"
