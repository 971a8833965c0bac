"""Node groups: as many process nodes as the desired size, each with its Node object and its EC2 instance record.

One thread (`run`) compares what is with what shall be, every few seconds and whenever a call changed something; it
also mends control planes and keeps the load balancer records. A node that goes is drained within the pods' budgets.
"""

import json
import logging
import threading
import time
from contextvars import ContextVar
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import responses
from ministack.services import ec2, eks

from include.settings import REGION
from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws import root
from local.aws.cloudformation import resources as cloudformation
from local.aws.eks import clusters
from local.aws.eks.agents import Agent, NoRoom
from local.aws.eks.api_client import ApiError
from local.aws.eks.control_planes import Plane
from local.aws.eks.drain import Blocked, drain
from local.aws.eks.load_balancers import Balancers

log = logging.getLogger(__name__)

SIZES = {  # vCPU, GiB: https://aws.amazon.com/ec2/instance-types/
    "t3.small": (2, 2),
    "t3.medium": (2, 4),
    "t3.large": (2, 8),
    "t3.xlarge": (4, 16),
    "m5.large": (2, 8),
    "m5.xlarge": (4, 16),
}
PODS = "17"  # what the VPC CNI gives a t3.medium
EVERY = 2.0  # seconds between rounds, and
SOON = 0.3  # while a group changes
PATIENCE = 120.0  # seconds that a group may take to have its nodes Ready
LABEL = "eks.amazonaws.com/nodegroup"
IMAGE = "ami-0eks1al2023x86064"

Group = dict[str, Any]
Node = dict[str, Any]
TROUBLE = (ApiError, NoRoom, ClientError, BotoCoreError, OSError, RuntimeError)

_wake = threading.Event()
_capacity = ContextVar("capacity", default="ON_DEMAND")
"""Of the node group that a template makes in this context: ministack does not hand it on."""
_agents: dict[str, Agent] = {}
_balancers: dict[str, Balancers] = {}
_changing: dict[str, float] = {}
"""Group's ARN → when its change began, on the monotonic clock."""
_updates: dict[str, list[dict[str, Any]]] = {}
"""Group's ARN → its updates in progress."""


# --- nodes and their instances ---------------------------------------------------------------------------------------
def _zone(group: Group, index: int) -> tuple[str, str]:
    """Subnet and zone of the group's index-th node."""
    subnets = [subnet for _key, subnet in ec2._subnets.all_items() if subnet["SubnetId"] in group["subnets"]]
    if not subnets:
        raise RuntimeError(f"none of the subnets {group['subnets']} exists")
    subnet = sorted(subnets, key=lambda one: one["AvailabilityZone"])[index % len(subnets)]
    return subnet["SubnetId"], subnet["AvailabilityZone"]


def _run_instance(group: Group, subnet: str) -> str:
    tags = group["tags"] | {
        "eks:cluster-name": group["clusterName"],
        "eks:nodegroup-name": group["nodegroupName"],
        f"kubernetes.io/cluster/{group['clusterName']}": "owned",
    }
    made = root.client("ec2").run_instances(
        ImageId=IMAGE,
        InstanceType=group["instanceTypes"][0],
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
    )
    name = made["Instances"][0]["InstanceId"]
    if group["capacityType"] == "SPOT":
        next(one for _key, one in ec2._instances.all_items() if one["InstanceId"] == name)["InstanceLifecycle"] = "spot"
    return name


_instance_xml = ec2._instance_xml


def _instance_with_lifecycle(instance: dict[str, Any]) -> str:
    """DescribeInstances' item; ministack never says that an instance is Spot."""
    text = _instance_xml(instance)
    spot = "<instanceLifecycle>spot</instanceLifecycle></item>"
    return text.removesuffix("</item>") + spot if instance.get("InstanceLifecycle") == "spot" else text


ec2._instance_xml = _instance_with_lifecycle


def launch(plane: Plane, group: Group, index: int) -> None:
    """An instance and its Node; the agent makes the Node Ready."""
    subnet, zone = _zone(group, index)
    name, kind = _run_instance(group, subnet), group["instanceTypes"][0]
    cpu, memory = SIZES.get(kind, (2, 4))
    size = {"cpu": str(cpu), "memory": f"{memory}Gi", "pods": PODS, "ephemeral-storage": f"{group['diskSize']}Gi"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": group["labels"]
            | {
                LABEL: group["nodegroupName"],
                "eks.amazonaws.com/capacityType": group["capacityType"],
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "node.kubernetes.io/instance-type": kind,
                "topology.kubernetes.io/zone": zone,
                "topology.kubernetes.io/region": REGION,
            },
        },
        "spec": {"providerID": f"aws:///{zone}/{name}"},
    }
    plane.api.call("POST", "/api/v1/nodes", node)
    status = {"status": {"capacity": size, "allocatable": size}}
    plane.api.call("PATCH", f"/api/v1/nodes/{name}/status", status, "merge")


def _delete_node(plane: Plane, name: str) -> None:
    try:
        plane.api.call("DELETE", f"/api/v1/nodes/{name}")
    except ApiError as error:
        if error.status != 404:
            raise


def retire(plane: Plane, name: str) -> None:
    """Drains a node within the budgets and takes it away; after a while regardless of them, as EKS does."""
    try:
        drain(plane.api, name)
    except Blocked as error:
        log.warning("node %s is taken away with pods on it: %s", name, error)
    _delete_node(plane, name)
    root.client("ec2").terminate_instances(InstanceIds=[name])


def _instances(group: Group) -> set[str]:
    """The group's instances that are not terminated."""
    pages = (
        root.client("ec2")
        .get_paginator("describe_instances")
        .paginate(
            Filters=[
                {"Name": "tag:eks:cluster-name", "Values": [group["clusterName"]]},
                {"Name": "tag:eks:nodegroup-name", "Values": [group["nodegroupName"]]},
            ]
        )
    )
    return {
        instance["InstanceId"]
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if instance["State"]["Name"] in ("pending", "running")
    }


def _nodes(plane: Plane, group: Group) -> list[Node]:
    return plane.api.items("/api/v1/nodes", labelSelector=f"{LABEL}={group['nodegroupName']}")


def _pair_up(plane: Plane, group: Group) -> list[str]:
    """Names of the nodes that have both a Node and an instance. The rest, of a start that was cut off, goes."""
    nodes = [node["metadata"]["name"] for node in _nodes(plane, group)]
    instances = _instances(group)
    if lonely := sorted(instances - set(nodes)):
        root.client("ec2").terminate_instances(InstanceIds=lonely)
    for name in set(nodes) - instances:
        _delete_node(plane, name)
    return [name for name in nodes if name in instances]


def _is_ready(node: Node) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


# --- one round -------------------------------------------------------------------------------------------------------
def _tell_agent(plane: Plane, groups: list[Group]) -> None:
    agent = _agents.get(plane.id)
    if not agent:
        agent = _agents[plane.id] = Agent(plane, clusters.STACK)
    agent.tell([(node, group["nodeRole"]) for group in groups for node in _nodes(plane, group)])


def _issue(code: str, message: str, names: list[str]) -> dict[str, Any]:
    return {"code": code, "message": message[:1000], "resourceIds": names}


def _fit(plane: Plane, group: Group, groups: list[Group]) -> list[dict[str, Any]]:
    """Make the group's nodes as many as they shall be; what is wrong with them, for the group's health."""
    want = 0 if group["status"] == "DELETING" else group["scalingConfig"]["desiredSize"]
    names = _pair_up(plane, group)
    for name in names[want:]:
        retire(plane, name)
    for index in range(len(names), want):
        launch(plane, group, index)
    _tell_agent(plane, groups)
    bad = [node["metadata"]["name"] for node in _nodes(plane, group) if not _is_ready(node)]
    return [_issue("NodeCreationFailure", "these nodes are not Ready", bad)] if bad else []


def _settle(group: Group, issues: list[dict[str, Any]]) -> None:
    """The group's status and updates after a round that saw its newest wishes."""
    arn = group["nodegroupArn"]
    if issues and time.monotonic() - _changing.get(arn, float("-inf")) < PATIENCE:
        return  # it still changes
    _changing.pop(arn, None)
    for update in _updates.pop(arn, []):
        update["status"] = "Failed" if issues else "Successful"
        update["errors"] = [
            {"errorCode": one["code"], "errorMessage": one["message"], "resourceIds": one["resourceIds"]}
            for one in issues
        ]
    if group["status"] == "DELETING":
        if not issues:
            _delete(group["clusterName"], group["nodegroupName"])
    else:
        group["status"] = "DEGRADED" if issues else "ACTIVE"


def _round(cluster: str) -> None:
    plane = clusters.PLANES.planes.get(cluster)
    groups = [group for _key, group in eks._nodegroups.all_items() if group["clusterName"] == cluster]
    if not plane or not plane.up:
        return
    plane.mend()
    for group in groups:
        before = json.dumps([group["scalingConfig"], group["status"]])
        try:
            issues = _fit(plane, group, groups)
        except TROUBLE as error:
            log.warning("node group %s: %s", group["nodegroupName"], error)
            issues = [_issue("ClusterUnreachable", str(error), [])]
        group["health"] = {"issues": issues}
        if before == json.dumps([group["scalingConfig"], group["status"]]):
            _settle(group, issues)
    if not groups and plane.id in _agents:
        _tell_agent(plane, [])
    try:
        record = next(record for key, record in eks._clusters.all_items() if key[2] == cluster)
        if cluster not in _balancers:
            _balancers[cluster] = Balancers(cluster)
        _balancers[cluster].sync(plane.api, record["resourcesVpcConfig"]["subnetIds"])
    except TROUBLE as error:
        log.warning("load balancers of %s: %s", cluster, error)


def run(end: threading.Event) -> None:
    """Until the end is set; the agents' death signal hangs on this thread."""
    for _key, group in eks._nodegroups.all_items():  # restored: its nodes start again
        _changing[group["nodegroupArn"]] = time.monotonic()
    while not end.is_set():
        _wake.clear()
        for (account, region, cluster), _record in list(eks._clusters.all_items()):
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            try:
                _round(cluster)
            except Exception:  # one bad round must not end the care for all nodes
                log.exception("a round over the nodes of %s failed", cluster)
        _wake.wait(SOON if _changing else EVERY)


def stop_agent(plane: str) -> None:
    """Before the control plane stops."""
    _balancers.pop(plane, None)
    if agent := _agents.pop(plane, None):
        agent.stop()


clusters.PLANES.before_stop.append(stop_agent)


# --- the API's calls -------------------------------------------------------------------------------------------------
_create, _delete = eks._create_nodegroup, eks._delete_nodegroup


def _change(cluster: str, name: str, status: str) -> None:
    group = eks._nodegroups[f"{cluster}/{name}"]
    _changing[group["nodegroupArn"]] = time.monotonic()
    group["status"] = status
    _wake.set()


def _fault_of(scaling: dict[str, int]) -> str:
    low, wanted, high = (scaling[name] for name in ("minSize", "desiredSize", "maxSize"))
    if high < 1:
        return f"maxSize {high} is less than 1"
    if not 0 <= low <= wanted <= high:
        return f"desiredSize {wanted} must lie between minSize {low} and maxSize {high}"
    return ""


def _create_nodegroup(cluster: str, body: dict[str, Any]) -> tuple:
    if "scalingConfig" in body and (fault := _fault_of(body["scalingConfig"])):
        return eks._error(400, "InvalidParameterException", fault)
    response = _create(cluster, {"capacityType": _capacity.get()} | body)
    if response[0] == 200:
        _change(cluster, body["nodegroupName"], "CREATING")
        return eks._describe_nodegroup(cluster, body["nodegroupName"])
    return response


def _delete_nodegroup(cluster: str, name: str) -> tuple:
    if f"{cluster}/{name}" in eks._nodegroups:
        _change(cluster, name, "DELETING")
    return eks._describe_nodegroup(cluster, name)


def _update_config(cluster: str, name: str, body: bytes) -> tuple:
    group, wanted = eks._nodegroups.get(f"{cluster}/{name}"), json.loads(body)
    if not group:
        return eks._error(404, "ResourceNotFoundException", f"No node group found for name: {name}.")
    if group["status"] not in ("ACTIVE", "DEGRADED"):
        message = "Nodegroup cannot be updated as it is currently not in Active State"
        return eks._error(409, "ResourceInUseException", message)
    if other := wanted.keys() - {"scalingConfig", "clientRequestToken"}:
        message = f"the embedded EKS changes scalingConfig only, not {', '.join(sorted(other))}"
        return eks._error(400, "InvalidParameterException", message)
    scaling = group["scalingConfig"] | wanted.get("scalingConfig", {})
    if fault := _fault_of(scaling):
        return eks._error(400, "InvalidParameterException", fault)
    update = clusters.record_update("ConfigUpdate", scaling)
    _updates.setdefault(group["nodegroupArn"], []).append(update)
    group["scalingConfig"] = scaling
    _change(cluster, name, "UPDATING")
    return eks._json_resp(200, {"update": update})


eks._create_nodegroup, eks._delete_nodegroup = _create_nodegroup, _delete_nodegroup
clusters.ROUTES.append(("POST", r"/clusters/([^/]+)/node-groups/([^/]+)/update-config", _update_config))


# --- CloudFormation waits for the nodes ------------------------------------------------------------------------------
_handlers = cloudformation.handlers("AWS::EKS::Nodegroup")
_stack_create, _stack_update, _stack_delete = (_handlers[name] for name in ("create", "update", "delete"))


def _wait(cluster: str, name: str, status: str) -> None:
    """ValueError when it ends with broken nodes."""
    while (group := eks._nodegroups.get(f"{cluster}/{name}")) and group["status"] == status:
        time.sleep(0.1)
    if group and group["status"] == "DEGRADED":
        raise ValueError(f"node group {name}: {group['health']['issues']}")


def _create_in_stack(logical_id: str, properties: dict[str, Any], stack: str) -> tuple[str, dict[str, str]]:
    _capacity.set(properties.get("CapacityType", "ON_DEMAND"))
    made = _stack_create(logical_id, properties, stack)
    _wait(properties["ClusterName"], made[0], "CREATING")
    return made


def _update_in_stack(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: str) -> Any:
    _capacity.set(new.get("CapacityType", "ON_DEMAND"))  # for a group that replaces this one
    made = _stack_update(physical_id, old, new, *rest)
    _change(new["ClusterName"], made[0], "UPDATING")
    _wait(new["ClusterName"], made[0], "UPDATING")
    return made


def _delete_in_stack(physical_id: str, properties: dict[str, Any]) -> None:
    _stack_delete(physical_id, properties)
    _wait(properties["ClusterName"], physical_id, "DELETING")


_handlers.update(create=_create_in_stack, update=_update_in_stack, delete=_delete_in_stack)
