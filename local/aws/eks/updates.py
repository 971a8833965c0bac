"""Updates of a cluster or node group, as DescribeUpdate shows them."""

import time
import uuid
from typing import Any

from ministack.services import eks

from local.aws.patch import Response

Update = dict[str, Any]

_updates: dict[str, Update] = {}


def record(kind: str, parameters: dict[str, Any]) -> Update:
    """Return a new update that is InProgress; whoever does the work sets its status."""
    update_id = str(uuid.uuid4())
    _updates[update_id] = {
        "id": update_id,
        "status": "InProgress",
        "type": kind,
        "params": [{"type": name[:1].upper() + name[1:], "value": str(value)} for name, value in parameters.items()],
        "createdAt": time.time(),
        "errors": [],
    }
    return _updates[update_id]


def describe(update_id: str) -> Response:
    """Return the answer of DescribeUpdate."""
    if update_id not in _updates:
        return eks._error(404, "ResourceNotFoundException", f"No update found for ID: {update_id}")
    return eks._json_resp(200, {"update": _updates[update_id]})
