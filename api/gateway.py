"""The outermost ASGI layer: scores baskets itself, hands every other path to FastAPI, measures and logs both.

FastAPI's routing costs four times what a prediction costs (measured: 0.12 of a bare ASGI app's rate against 0.28),
so the two scoring paths never reach it. Their documentation does: see openapi.py.
"""

import re
import traceback
from random import getrandbits
from time import perf_counter
from typing import Any

import msgspec

from api import body
from api.auth import Headers, require_key
from api.endpoints import Endpoint, Predict, PredictBatch, not_ready
from api.errors import HttpError
from api.logs import Log
from api.metrics import Metrics
from api.state import State

PREDICT, BATCH = "/predict", "/predict/batch"
QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds: counted, not logged
GUARDED = frozenset({"/model", "/metrics"})  # need the key too, if there is one
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FIXED = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
CLIENT_GONE = 499  # nginx's number for a client that left before its answer; only in logs and metrics


class Gateway:
    def __init__(self, state: State, log: Log, metrics: Metrics, inner: Any, routes: frozenset[str]) -> None:
        self._state, self._log, self._metrics, self._inner = state, log, metrics, inner
        self._key = state.config.api_key
        self._routes = routes | {PREDICT, BATCH}
        self._endpoints: dict[str, Endpoint] = {
            PREDICT: Predict(state, log, metrics),
            BATCH: PredictBatch(state, log, metrics),
        }
        self._headers = [*_FIXED, (b"x-model-version", state.config.model_version.encode())]

    async def __call__(self, scope: dict[str, Any], receive: body.Receive, send: body.Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began, path = perf_counter(), scope["path"]
        request_id = _request_id(scope["headers"])
        endpoint = self._endpoints.get(path)
        if endpoint is not None:
            status = await self._score(endpoint, request_id, scope, receive, send)
        else:
            status = await self._pass_on(request_id, scope, receive, send)
        seconds, route = perf_counter() - began, path if path in self._routes else "other"
        self._metrics.request(route, status, seconds)
        if route not in QUIET:
            self._log.line(
                "request",
                id=request_id,
                method=scope["method"],
                route=route,
                status=status,
                ms=round(seconds * 1000, 3),
            )

    async def _score(
        self, endpoint: Endpoint, request_id: str, scope: dict[str, Any], receive: body.Receive, send: body.Send
    ) -> int:
        status, headers = 200, [_JSON]
        try:
            if scope["method"] != "POST":
                raise HttpError(405, "Method Not Allowed", ((b"allow", b"POST"),))
            require_key(scope["headers"], self._key)
            bundle = self._state.bundle
            if bundle is None:
                raise not_ready(self._state)
            content = await body.read(scope["headers"], receive, endpoint.limit)
            payload = await endpoint.answer(bundle, content, request_id)
        except HttpError as error:
            status, payload = error.status, msgspec.json.encode({"detail": error.detail})
            headers += error.headers
        except body.ClientGone:
            return CLIENT_GONE
        except Exception:
            status, payload = 500, self._failure(request_id)
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": self._complete(headers, request_id)})
        await send({"type": "http.response.body", "body": payload})
        return status

    async def _pass_on(self, request_id: str, scope: dict[str, Any], receive: body.Receive, send: body.Send) -> int:
        status, started = 500, False

        async def watched(message: body.Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = self._complete(list(message["headers"]), request_id)
            await send(message)

        try:
            if scope["path"] in GUARDED:
                require_key(scope["headers"], self._key)
            await self._inner(scope, receive, watched)
        except HttpError as error:
            await _send_json(watched, error.status, {"detail": error.detail}, list(error.headers))
        except Exception:
            payload = self._failure(request_id)
            if not started:
                await _send_json(watched, 500, msgspec.Raw(payload), [])
        return status

    def _complete(self, headers: Headers, request_id: str) -> Headers:
        headers += self._headers
        headers.append((b"x-request-id", request_id.encode()))
        if self._state.draining and _CLOSE not in headers:
            headers.append(_CLOSE)  # the client opens its next connection to a pod that stays
        return headers

    def _failure(self, request_id: str) -> bytes:
        """The answer to a failure of ours: the trace goes to the log, its id to the client."""
        self._log.event("failure", "ERROR", id=request_id, traceback=traceback.format_exc())
        return msgspec.json.encode({"detail": f"internal error; its id is {request_id}"})


async def _send_json(send: body.Send, status: int, document: Any, headers: Headers) -> None:
    payload = msgspec.json.encode(document)
    headers += [_JSON, (b"content-length", b"%d" % len(payload))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


def _request_id(headers: Headers) -> str:
    """The caller's X-Request-ID if it is harmless, else one of ours."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{getrandbits(64):016x}"
