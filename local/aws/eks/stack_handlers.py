"""CloudFormation waits for clusters and node groups, and fails when they fail, as on AWS.

The waits have no time limit of their own: a start ends as ACTIVE or FAILED, a node group as ACTIVE or DEGRADED.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import ClientError
from ministack.services import eks
from ministack.services.cloudformation import provisioners

from local.aws import root
from local.aws.cloudformation.handlers import Created, Properties, replace_handler, wrap_handler
from local.aws.eks.nodegroups import capacity_type, note_change
from local.stack.waiting import wait_until

POLL_SECONDS: Final = 0.1


# --- clusters ---
def _create_cluster(create: Callable[..., Created], logical_id: str, properties: Properties, stack: str) -> Created:
    name, _attributes = create(logical_id, properties, stack)
    cluster = eks._clusters[name]
    wait_until(lambda: cluster["status"] != "CREATING", math.inf, every=POLL_SECONDS)
    if eks._sanitize(cluster)["status"] == "FAILED":
        eks._delete_cluster(name)
        raise ValueError(f"the control plane of {name} did not start: see the log of the AWS emulation")
    return name, provisioners._eks_cluster_attrs(cluster)


def _delete_cluster(name: str, _properties: Properties) -> None:
    try:
        root.client("eks").delete_cluster(name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


# --- node groups ---
def _wait(cluster: str, name: str, status: str) -> None:
    """Wait until the group leaves this status. Raise ValueError when it ends with broken nodes."""
    key = f"{cluster}/{name}"

    def has_left() -> bool:
        group = eks._nodegroups.get(key)
        return not group or group["status"] != status

    wait_until(has_left, math.inf, every=POLL_SECONDS)
    group = eks._nodegroups.get(key)
    if group and group["status"] == "DEGRADED":
        raise ValueError(f"node group {name}: {group['health']['issues']}")


def _create_nodegroup(create: Callable[..., Created], logical_id: str, properties: Properties, stack: str) -> Created:
    capacity_type.set(properties.get("CapacityType", "ON_DEMAND"))
    created = create(logical_id, properties, stack)
    _wait(properties["ClusterName"], created[0], "CREATING")
    return created


def _update_nodegroup(
    update: Callable[..., Any], physical_id: str, old: Properties, new: Properties, *rest: str
) -> Any:
    capacity_type.set(new.get("CapacityType", "ON_DEMAND"))  # for a group that replaces this one
    updated = update(physical_id, old, new, *rest)
    note_change(new["ClusterName"], updated[0], "UPDATING")
    _wait(new["ClusterName"], updated[0], "UPDATING")
    return updated


def _delete_nodegroup(delete: Callable[[str, Properties], None], physical_id: str, properties: Properties) -> None:
    delete(physical_id, properties)
    _wait(properties["ClusterName"], physical_id, "DELETING")


_NO_WAIT: Final = "a stack does not wait for clusters and nodes"

PATCHES: Final = (
    wrap_handler("AWS::EKS::Cluster", "create", _create_cluster, _NO_WAIT),
    replace_handler("AWS::EKS::Cluster", "delete", _delete_cluster, "a cluster in use is deleted; AWS refuses"),
    wrap_handler("AWS::EKS::Nodegroup", "create", _create_nodegroup, _NO_WAIT),
    wrap_handler("AWS::EKS::Nodegroup", "update", _update_nodegroup, _NO_WAIT),
    wrap_handler("AWS::EKS::Nodegroup", "delete", _delete_nodegroup, _NO_WAIT),
)
