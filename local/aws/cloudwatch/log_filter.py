"""FilterLogEvents with logStreamNamePrefix, which ministack takes and ignores: it answers the whole group's events."""

from typing import Any

from ministack.core.responses import json_response
from ministack.services import cloudwatch_logs

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below

_filter_log_events = cloudwatch_logs._filter_log_events


def _filter(request: dict[str, Any]) -> tuple:
    group = cloudwatch_logs._resolve_log_group_name(request)
    prefix = request.get("logStreamNamePrefix")
    if not prefix or group not in cloudwatch_logs._log_groups:
        return _filter_log_events(request)
    names = [name for name in cloudwatch_logs._log_groups[group]["streams"] if name.startswith(prefix)]
    if not names:
        return json_response({"events": [], "searchedLogStreams": []})
    return _filter_log_events(request | {"logStreamNames": names})


cloudwatch_logs._filter_log_events = _filter
