"""The nodes of a node group: each is an EC2 instance record and a Node object of the cluster."""

import logging
from collections.abc import Callable
from typing import Any, Final

from ministack.services import ec2

from include.settings import REGION
from local.aws import root
from local.aws.eks.api_client import ApiServerError
from local.aws.eks.control_planes import Plane
from local.aws.eks.drain import Blocked, drain
from local.aws.eks.nodegroups import Group
from local.aws.patch import wrap

log = logging.getLogger(__name__)

Node = dict[str, Any]

SIZES: Final = {  # vCPU, GiB: https://aws.amazon.com/ec2/instance-types/
    "t3.small": (2, 2),
    "t3.medium": (2, 4),
    "t3.large": (2, 8),
    "t3.xlarge": (4, 16),
    "m5.large": (2, 8),
    "m5.xlarge": (4, 16),
}
PODS: Final = "17"
"""What the VPC CNI gives a t3.medium."""
LABEL: Final = "eks.amazonaws.com/nodegroup"
IMAGE: Final = "ami-0eks1al2023x86064"


# --- create ---
def launch(plane: Plane, group: Group, index: int) -> None:
    """Create an instance and its Node; the node agent makes the Node Ready."""
    subnet, zone = _placement(group, index)
    name = _run_instance(group, subnet)
    plane.api.call("POST", "/api/v1/nodes", _node_object(group, name, zone))
    cpu, memory = SIZES.get(group["instanceTypes"][0], (2, 4))
    size = {"cpu": str(cpu), "memory": f"{memory}Gi", "pods": PODS, "ephemeral-storage": f"{group['diskSize']}Gi"}
    status = {"status": {"capacity": size, "allocatable": size}}
    plane.api.call("PATCH", f"/api/v1/nodes/{name}/status", status, "merge")


def _placement(group: Group, index: int) -> tuple[str, str]:
    """Return subnet and zone of the group's node with this index."""
    subnets = [subnet for _key, subnet in ec2._subnets.all_items() if subnet["SubnetId"] in group["subnets"]]
    if not subnets:
        raise RuntimeError(
            f"node group {group['nodegroupName']}: none of its subnets {group['subnets']} exists; "
            "deploy the network stack first"
        )
    subnet = sorted(subnets, key=lambda candidate: candidate["AvailabilityZone"])[index % len(subnets)]
    return subnet["SubnetId"], subnet["AvailabilityZone"]


def _run_instance(group: Group, subnet: str) -> str:
    tags = group["tags"] | {
        "eks:cluster-name": group["clusterName"],
        "eks:nodegroup-name": group["nodegroupName"],
        f"kubernetes.io/cluster/{group['clusterName']}": "owned",
    }
    [instance] = root.client("ec2").run_instances(
        ImageId=IMAGE,
        InstanceType=group["instanceTypes"][0],
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )["Instances"]
    name = str(instance["InstanceId"])
    if group["capacityType"] == "SPOT":
        record = next(record for _key, record in ec2._instances.all_items() if record["InstanceId"] == name)
        record["InstanceLifecycle"] = "spot"
    return name


def _node_object(group: Group, name: str, zone: str) -> Node:
    labels = {
        LABEL: group["nodegroupName"],
        "eks.amazonaws.com/capacityType": group["capacityType"],
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": group["instanceTypes"][0],
        "topology.kubernetes.io/zone": zone,
        "topology.kubernetes.io/region": REGION,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": group["labels"] | labels},
        "spec": {"providerID": f"aws:///{zone}/{name}"},
    }


# --- remove ---
def retire(plane: Plane, name: str) -> None:
    """Drain a node within the pods' budgets and remove it; after a while regardless of them, as EKS does."""
    try:
        drain(plane.api, name)
    except Blocked as error:
        log.warning("node %s is removed with pods on it: %s", name, error)
    _delete_node(plane, name)
    root.client("ec2").terminate_instances(InstanceIds=[name])


def _delete_node(plane: Plane, name: str) -> None:
    try:
        plane.api.call("DELETE", f"/api/v1/nodes/{name}")
    except ApiServerError as error:
        if error.status != 404:
            raise


# --- list ---
def nodes_of(plane: Plane, group: Group) -> list[Node]:
    """Return the group's Node objects."""
    return plane.api.items("/api/v1/nodes", labelSelector=f"{LABEL}={group['nodegroupName']}")


def is_ready(node: Node) -> bool:
    """Return whether the Node is Ready."""
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def complete_nodes(plane: Plane, group: Group) -> list[str]:
    """Return the names of the nodes that have both a Node and an instance; remove those that have one of them only.

    Those are left by a start that was interrupted.
    """
    nodes = [node["metadata"]["name"] for node in nodes_of(plane, group)]
    instances = _instances(group)
    without_node = sorted(instances - set(nodes))
    if without_node:
        root.client("ec2").terminate_instances(InstanceIds=without_node)
    for name in set(nodes) - instances:
        _delete_node(plane, name)
    return [name for name in nodes if name in instances]


def _instances(group: Group) -> set[str]:
    """Return the ids of the group's instances that are not terminated."""
    filters = [
        {"Name": "tag:eks:cluster-name", "Values": [group["clusterName"]]},
        {"Name": "tag:eks:nodegroup-name", "Values": [group["nodegroupName"]]},
    ]
    pages = root.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return {
        instance["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] in ("pending", "running")
    }


def _instance_xml(xml_of: Callable[[dict[str, Any]], str], instance: dict[str, Any]) -> str:
    """Return the item of DescribeInstances, with the life cycle of a Spot instance."""
    text = xml_of(instance)
    spot = "<instanceLifecycle>spot</instanceLifecycle></item>"
    return text.removesuffix("</item>") + spot if instance.get("InstanceLifecycle") == "spot" else text


PATCHES: Final = (wrap(ec2, "_instance_xml", _instance_xml, "DescribeInstances never shows an instance as Spot"),)
