"""Sizes of EKS node groups: the provider creates and deletes them, and has nothing that changes one's size.

Its EksNodegroupStateSensor is not used here either: it would wait for a DEGRADED group (no Spot capacity, say) until
its time is over, and one that costs money must be stopped all the same.
"""

from __future__ import annotations

import time
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.eks import EksHook
from botocore.exceptions import ClientError

from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.errors import RetailError
from retail_mlops.schedule.records import NodeGroup

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
        """The cluster's node groups, without those that are being deleted."""
        pages = self.conn.get_paginator("list_nodegroups").paginate(clusterName=CLUSTER_NAME)
        described = [self._describe(name) for page in pages for name in page["nodegroups"]]
        return [_sizes(one) for one in described if one["status"] != "DELETING"]

    def scale(self, wanted: NodeGroup, timeout: float, poll: float) -> None:
        """Gives a group these sizes, once no other update of it is under way; its nodes follow by themselves.

        RetailError after `timeout` seconds, or when there is no such group.
        """
        until = time.monotonic() + timeout
        while True:
            found = self._wait(wanted, until, poll)
            if _sizes(found) == wanted:
                self.log.info("node group %s has these sizes already: %s", wanted.name, _text(wanted))
                return
            try:
                self.conn.update_nodegroup_config(
                    clusterName=CLUSTER_NAME,
                    nodegroupName=wanted.name,
                    scalingConfig={
                        "minSize": wanted.minimum,
                        "desiredSize": wanted.desired,
                        "maxSize": wanted.maximum,
                    },
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in BUSY or time.monotonic() > until:
                    raise
                self.log.info("node group %s (%s): %s", wanted.name, found["status"], error)
                time.sleep(poll)
                continue
            self.log.info("node group %s: %s", wanted.name, _text(wanted))
            return

    def trouble(self, name: str) -> str:
        """What EKS says is wrong with a group."""
        issues = self._describe(name).get("health", {}).get("issues", [])
        return "; ".join(f"{one['code']}: {one['message']}" for one in issues) or "EKS names no reason"

    def _wait(self, wanted: NodeGroup, until: float, poll: float) -> dict[str, Any]:
        """The group, once it does not change any more."""
        said = ""
        while (status := (found := self._describe(wanted.name))["status"]) in CHANGING:
            if time.monotonic() > until:
                raise RetailError(f"node group {wanted.name} is still {status}: run this again when that has ended")
            if status != said:
                self.log.info("node group %s is %s: waiting for that first", wanted.name, said := status)
            time.sleep(poll)
        return found

    def _describe(self, name: str) -> dict[str, Any]:
        try:
            return self.conn.describe_nodegroup(clusterName=CLUSTER_NAME, nodegroupName=name)["nodegroup"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise RetailError(
                f"there is no node group {name} in {CLUSTER_NAME}: it was deleted, or provision replaced it while the "
                "environment was down. Remove the record (docs/runbooks/scale.md), then run provision"
            ) from error


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
