"""The API of node groups: calls that change a group and note the change for the reconciler."""

import json
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from ministack.services import eks

from local.aws.eks import updates
from local.aws.patch import Response, replace, wrap

Group = dict[str, Any]

capacity_type: Final = ContextVar("capacity_type", default="ON_DEMAND")
"""Of the node group that a template creates in this context: ministack does not hand it on."""
change_noted: Final = threading.Event()
"""Wakes the reconciler."""
changing_since: Final[dict[str, float]] = {}
"""Group's ARN → when its change began, on the monotonic clock."""
_open_updates: Final[dict[str, list[updates.Update]]] = {}
"""Group's ARN → its updates in progress."""
delete_record: Final[Callable[[str, str], Response]] = eks._delete_nodegroup
"""ministack's own: the reconciler calls it when the nodes are gone, DeleteNodegroup does not."""


def note_change(cluster: str, name: str, status: str) -> None:
    """Set the group's status, and let the reconciler act on it now."""
    group = eks._nodegroups[f"{cluster}/{name}"]
    changing_since[group["nodegroupArn"]] = time.monotonic()
    group["status"] = status
    change_noted.set()


def end_updates(group_arn: str, issues: list[dict[str, Any]]) -> None:
    """End the group's updates: Failed when there are issues."""
    for update in _open_updates.pop(group_arn, []):
        update["status"] = "Failed" if issues else "Successful"
        update["errors"] = [
            {"errorCode": issue["code"], "errorMessage": issue["message"], "resourceIds": issue["resourceIds"]}
            for issue in issues
        ]


def _refusal_of(scaling: dict[str, int]) -> str:
    smallest, desired, largest = (scaling[name] for name in ("minSize", "desiredSize", "maxSize"))
    if largest < 1:
        return f"maxSize {largest} is less than 1"
    if not 0 <= smallest <= desired <= largest:
        return f"desiredSize {desired} must lie between minSize {smallest} and maxSize {largest}"
    return ""


def _create(create: Callable[[str, Group], Response], cluster: str, body: Group) -> Response:
    if "scalingConfig" in body and (refusal := _refusal_of(body["scalingConfig"])):
        return eks._error(400, "InvalidParameterException", refusal)
    response = create(cluster, {"capacityType": capacity_type.get()} | body)
    if response[0] != 200:
        return response
    note_change(cluster, body["nodegroupName"], "CREATING")
    return eks._describe_nodegroup(cluster, body["nodegroupName"])


def _delete(cluster: str, name: str) -> Response:
    if f"{cluster}/{name}" in eks._nodegroups:
        note_change(cluster, name, "DELETING")
    return eks._describe_nodegroup(cluster, name)


def update_config(cluster: str, name: str, body: bytes) -> Response:
    """Return the answer of UpdateNodegroupConfig: the update, or why it is refused."""
    group = eks._nodegroups.get(f"{cluster}/{name}")
    request = json.loads(body)
    if not group:
        return eks._error(404, "ResourceNotFoundException", f"No node group found for name: {name}.")
    if group["status"] not in ("ACTIVE", "DEGRADED"):
        message = "Nodegroup cannot be updated as it is currently not in Active State"
        return eks._error(409, "ResourceInUseException", message)
    unsupported = sorted(request.keys() - {"scalingConfig", "clientRequestToken"})
    if unsupported:
        message = f"the EKS emulation changes scalingConfig only, not {', '.join(unsupported)}"
        return eks._error(400, "InvalidParameterException", message)
    scaling = group["scalingConfig"] | request.get("scalingConfig", {})
    if refusal := _refusal_of(scaling):
        return eks._error(400, "InvalidParameterException", refusal)
    update = updates.record("ConfigUpdate", scaling)
    _open_updates.setdefault(group["nodegroupArn"], []).append(update)
    group["scalingConfig"] = scaling
    note_change(cluster, name, "UPDATING")
    return eks._json_resp(200, {"update": update})


PATCHES: Final = (
    wrap(eks, "_create_nodegroup", _create, "a group is ACTIVE at once, without nodes"),
    replace(eks, "_delete_nodegroup", _delete, "a group is gone at once; its nodes must go first"),
)
