"""FilterLogEvents by a prefix of stream names."""

from collections.abc import Callable
from typing import Any, Final

from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs

from local.aws.patch import Response, wrap

Request = dict[str, Any]


def _filter_log_events(filter_log_events: Callable[[Request], Response], request: Request) -> Response:
    group = cloudwatch_logs._resolve_log_group_name(request)
    prefix = request.get("logStreamNamePrefix")
    if not prefix or group not in cloudwatch_logs._log_groups:
        return filter_log_events(request)
    names = [name for name in cloudwatch_logs._log_groups[group]["streams"] if name.startswith(prefix)]
    if not names:
        return json_response({"events": [], "searchedLogStreams": []})
    return filter_log_events(request | {"logStreamNames": names})


PATCHES: Final = (
    wrap(
        cloudwatch_logs,
        "_filter_log_events",
        _filter_log_events,
        "logStreamNamePrefix is ignored: the answer has the whole group's events",
    ),
)
