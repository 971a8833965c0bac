"""Saved queries of CloudWatch Logs Insights: PutQueryDefinition and its kin, which ministack lacks."""

import json
import time
import uuid
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import cloudwatch_logs

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below

Request = dict[str, Any]

_saved = AccountRegionScopedDict()
"""Query definition id → the definition as DescribeQueryDefinitions answers it."""


def _put(request: Request) -> tuple:
    name = request.get("queryDefinitionId") or str(uuid.uuid4())
    if "queryDefinitionId" in request and name not in _saved:
        return error_response_json("ResourceNotFoundException", f"There is no query definition {name}", 400)
    members = ("name", "queryString", "logGroupNames", "queryLanguage")
    definition = {member: request[member] for member in members if member in request}
    _saved[name] = definition | {"queryDefinitionId": name, "lastModified": int(time.time() * 1000)}
    return json_response({"queryDefinitionId": name})


def _describe(request: Request) -> tuple:
    prefix = request.get("queryDefinitionNamePrefix", "")
    found = sorted((one for one in _saved.values() if one["name"].startswith(prefix)), key=lambda one: one["name"])
    start, count = int(request.get("nextToken", 0)), int(request.get("maxResults", 1000))
    more = {"nextToken": str(start + count)} if start + count < len(found) else {}
    return json_response({"queryDefinitions": found[start : start + count]} | more)


def _delete(request: Request) -> tuple:
    return json_response({"success": _saved.pop(request["queryDefinitionId"], None) is not None})


_OPERATIONS = {"PutQueryDefinition": _put, "DescribeQueryDefinitions": _describe, "DeleteQueryDefinition": _delete}
_handle, _state, _load = (
    cloudwatch_logs.handle_request,
    cloudwatch_logs.get_state,
    cloudwatch_logs.load_persisted_state,
)


async def _answer(method, path, headers, body, query):
    operation = _OPERATIONS.get(headers.get("x-amz-target", "").rpartition(".")[2])
    return operation(json.loads(body)) if operation else await _handle(method, path, headers, body, query)


def _restore(state: Request) -> None:
    _load(state)
    _saved.update(state.get("query_definitions", {}))


cloudwatch_logs.handle_request = _answer
cloudwatch_logs.get_state = lambda: _state() | {"query_definitions": _saved}
cloudwatch_logs.load_persisted_state = _restore
