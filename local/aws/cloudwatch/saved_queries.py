"""Saved queries of CloudWatch Logs Insights: PutQueryDefinition, DescribeQueryDefinitions, DeleteQueryDefinition."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import cloudwatch_logs

from local.aws.patch import Response, wrap

Document = dict[str, Any]

_definitions = AccountRegionScopedDict()
"""Query definition id → the definition as DescribeQueryDefinitions answers it."""
_STATE_MEMBER: Final = "query_definitions"


def _put(request: Document) -> Response:
    definition_id = request.get("queryDefinitionId") or str(uuid.uuid4())
    if "queryDefinitionId" in request and definition_id not in _definitions:
        message = f"There is no query definition {definition_id}"
        return error_response_json("ResourceNotFoundException", message, 400)
    members = ("name", "queryString", "logGroupNames", "queryLanguage")
    definition = {member: request[member] for member in members if member in request}
    definition |= {"queryDefinitionId": definition_id, "lastModified": int(time.time() * 1000)}
    _definitions[definition_id] = definition
    return json_response({"queryDefinitionId": definition_id})


def _describe(request: Document) -> Response:
    prefix = request.get("queryDefinitionNamePrefix", "")
    matching = [definition for definition in _definitions.values() if definition["name"].startswith(prefix)]
    matching.sort(key=lambda definition: definition["name"])
    start = int(request.get("nextToken", 0))
    end = start + int(request.get("maxResults", 1000))
    next_page = {"nextToken": str(end)} if end < len(matching) else {}
    return json_response({"queryDefinitions": matching[start:end]} | next_page)


def _delete(request: Document) -> Response:
    return json_response({"success": _definitions.pop(request["queryDefinitionId"], None) is not None})


_OPERATIONS: Final = {
    "PutQueryDefinition": _put,
    "DescribeQueryDefinitions": _describe,
    "DeleteQueryDefinition": _delete,
}


async def _handle_request(
    handle: Callable[..., Awaitable[Response]], method: str, path: str, headers: dict[str, str], body: bytes, query: Any
) -> Response:
    operation = _OPERATIONS.get(headers.get("x-amz-target", "").rpartition(".")[2])
    return operation(json.loads(body)) if operation else await handle(method, path, headers, body, query)


def _get_state(get_state: Callable[[], Document]) -> Document:
    return get_state() | {_STATE_MEMBER: _definitions}


def _load_state(load_state: Callable[[Document], None], state: Document) -> None:
    load_state(state)
    _definitions.update(state.get(_STATE_MEMBER, {}))


_REASON: Final = "ministack has no saved queries"

PATCHES: Final = (
    wrap(cloudwatch_logs, "handle_request", _handle_request, _REASON),
    wrap(cloudwatch_logs, "get_state", _get_state, _REASON),
    wrap(cloudwatch_logs, "load_persisted_state", _load_state, _REASON),
)
