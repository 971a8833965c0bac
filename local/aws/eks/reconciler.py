"""The loop over all clusters: as many nodes as their groups desire, live control planes, load balancer records.

It compares what is with what shall be every few seconds, and at once when a call changed a node group.
"""

import json
import logging
import threading
import time
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core import responses
from ministack.services import eks

from local.aws.eks import nodegroups
from local.aws.eks.agents import Agent, NoRoom
from local.aws.eks.api_client import ApiServerError
from local.aws.eks.control_planes import Plane
from local.aws.eks.load_balancers import Balancers
from local.aws.eks.node_instances import complete_nodes, is_ready, launch, nodes_of, retire
from local.aws.eks.nodegroups import Group
from local.aws.eks.running_planes import plane_of, planes

log = logging.getLogger(__name__)

ROUND_SECONDS: Final = 2.0
CHANGING_ROUND_SECONDS: Final = 0.3
"""Between rounds while a group changes."""
CHANGE_TIMEOUT: Final = 120.0
"""Seconds that a group may take to have its nodes Ready."""
EXPECTED_ERRORS: Final = (ApiServerError, NoRoom, ClientError, BotoCoreError, OSError, RuntimeError)

Issue = dict[str, Any]

_agents: dict[str, Agent] = {}
_balancers: dict[str, Balancers] = {}


def run(end: threading.Event) -> None:
    """Reconcile until the end is set. Call it from a thread that lives as long as this process: agents die with it."""
    for _key, group in eks._nodegroups.all_items():  # restored: its nodes start again
        nodegroups.changing_since[group["nodegroupArn"]] = time.monotonic()
    while not end.is_set():
        nodegroups.change_noted.clear()
        for (account, region, cluster), _record in list(eks._clusters.all_items()):
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            try:
                _reconcile_cluster(cluster)
            except Exception:  # one failed round must not end the loop
                log.exception("cluster %s: a round over its nodes failed; the next one follows", cluster)
        nodegroups.change_noted.wait(CHANGING_ROUND_SECONDS if nodegroups.changing_since else ROUND_SECONDS)


def stop_agent(plane_id: str) -> None:
    """Stop the cluster's node agent; call it before its control plane stops."""
    _balancers.pop(plane_id, None)
    if agent := _agents.pop(plane_id, None):
        agent.stop()


def _reconcile_cluster(cluster: str) -> None:
    plane = plane_of(cluster)
    if not plane:
        return
    plane.restart_if_dead()
    groups = [group for _key, group in eks._nodegroups.all_items() if group["clusterName"] == cluster]
    for group in groups:
        _reconcile_group(plane, group, groups)
    if not groups and plane.id in _agents:
        _update_agent(plane, [])
    try:
        _reconcile_balancers(plane, cluster)
    except EXPECTED_ERRORS as error:
        log.warning("load balancers of cluster %s: %s; the next round tries again", cluster, error)


def _reconcile_group(plane: Plane, group: Group, groups: list[Group]) -> None:
    before = json.dumps([group["scalingConfig"], group["status"]])
    try:
        issues = _fit(plane, group, groups)
    except EXPECTED_ERRORS as error:
        log.warning("node group %s: %s; the next round tries again", group["nodegroupName"], error)
        issues = [_issue("ClusterUnreachable", str(error), [])]
    group["health"] = {"issues": issues}
    if before == json.dumps([group["scalingConfig"], group["status"]]):  # no call changed it meanwhile
        _settle(group, issues)


def _fit(plane: Plane, group: Group, groups: list[Group]) -> list[Issue]:
    """Launch or retire nodes until there are as many as desired; return what is wrong with them."""
    desired = 0 if group["status"] == "DELETING" else group["scalingConfig"]["desiredSize"]
    names = complete_nodes(plane, group)
    for name in names[desired:]:
        retire(plane, name)
    for index in range(len(names), desired):
        launch(plane, group, index)
    _update_agent(plane, groups)
    not_ready = [node["metadata"]["name"] for node in nodes_of(plane, group) if not is_ready(node)]
    return [_issue("NodeCreationFailure", "these nodes are not Ready", not_ready)] if not_ready else []


def _issue(code: str, message: str, names: list[str]) -> Issue:
    return {"code": code, "message": message[:1000], "resourceIds": names}


def _update_agent(plane: Plane, groups: list[Group]) -> None:
    agent = _agents.get(plane.id)
    if not agent:
        agent = _agents[plane.id] = Agent(plane, planes().stack)
    agent.send([(node, group["nodeRole"]) for group in groups for node in nodes_of(plane, group)])


def _settle(group: Group, issues: list[Issue]) -> None:
    """Set the group's status and end its updates, unless it may still become healthy."""
    arn = group["nodegroupArn"]
    changing_for = time.monotonic() - nodegroups.changing_since.get(arn, float("-inf"))
    if issues and changing_for < CHANGE_TIMEOUT:
        return
    nodegroups.changing_since.pop(arn, None)
    nodegroups.end_updates(arn, issues)
    if group["status"] != "DELETING":
        group["status"] = "DEGRADED" if issues else "ACTIVE"
    elif not issues:
        nodegroups.delete_record(group["clusterName"], group["nodegroupName"])


def _reconcile_balancers(plane: Plane, cluster: str) -> None:
    record = next(record for key, record in eks._clusters.all_items() if key[2] == cluster)
    if cluster not in _balancers:
        _balancers[cluster] = Balancers(cluster)
    _balancers[cluster].sync(plane.api, record["resourcesVpcConfig"]["subnetIds"])
