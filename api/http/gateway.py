"""The outermost ASGI layer: scores baskets itself, hands every other path to FastAPI, measures and logs both.

FastAPI's routing costs four times what a prediction costs (measured: 0.12 of a bare ASGI app's rate against 0.28),
so the two scoring paths never reach it. Their documentation does: see openapi.py.
"""

import re
import traceback
from collections.abc import Sequence
from random import getrandbits
from time import perf_counter
from typing import Any

import msgspec

from api.errors import HttpError
from api.http import body
from api.http.auth import Headers, Keys
from api.http.endpoints import BUSY, Endpoint, Predict, PredictBatch, not_ready
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import QUIET, Metrics
from include.baskets.bundle import Bundle

PREDICT, BATCH = "/predict", "/predict/batch"
GUARDED = frozenset({"/model", "/metrics", "/products"})  # need the key too, if there is one
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FIXED = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")

Request = tuple[Headers, bytes, float]
"""Headers, body, and when it came (perf_counter)."""
Reply = tuple[int, Headers, bytes]
"""Status, headers, body."""

CLIENT_GONE = 499  # nginx's number for a client that left before its answer; only in logs and metrics


class Places:
    """So many at once: late answers to all would help nobody."""

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self) -> None:
        """HttpError 503 when none is free."""
        if not self._free:
            raise BUSY
        self._free -= 1

    def give_back(self, count: int) -> None:
        self._free += count


class Gateway:
    """An ASGI application; `predict` is the way round ASGI that protocol.py takes."""

    def __init__(
        self, state: State, log: Log, metrics: Metrics, keys: Keys, inner: Any, routes: frozenset[str]
    ) -> None:
        self._state, self._log, self._metrics, self._keys, self._inner = state, log, metrics, keys, inner
        self._routes = routes | {PREDICT, BATCH}
        self._predict = Predict(state, log, metrics)
        self._endpoints: dict[str, Endpoint] = {PREDICT: self._predict, BATCH: PredictBatch(state, log, metrics)}
        self._headers = [*_FIXED, _POLICY, (b"x-model-version", state.config.model_version.encode())]
        # a client that is slow with a batch's body must not take a prediction's place
        self._waiting, self._slow = Places(state.config.max_in_flight), Places(state.config.max_batches)

    def accept(self, headers: Headers) -> Bundle:
        """What scores a prediction whose body is there, and which is in flight from now on. HttpError 401 or 503."""
        bundle = self._bundle(headers)
        self._waiting.take()
        return bundle

    def predict(self, bundle: Bundle, requests: list[Request]) -> list[Reply]:
        """Answer requests to POST /predict that have been accepted."""
        ids = [_request_id(headers) for headers, _, _ in requests]
        outcomes: Sequence[bytes | Exception]
        try:
            outcomes = self._predict.answers(bundle, [content for _, content, _ in requests], ids)
        except Exception as error:
            outcomes = [error] * len(requests)
        self._waiting.give_back(len(requests))
        return [
            self._reply(outcome, request_id, PREDICT, began)
            for outcome, request_id, (_, _, began) in zip(outcomes, ids, requests, strict=True)
        ]

    def refuse(self, error: HttpError, headers: Headers, route: str, began: float) -> Reply:
        """Answer a request that is not accepted."""
        return self._reply(error, _request_id(headers), route, began)

    def _reply(self, outcome: bytes | Exception, request_id: str, route: str, began: float) -> Reply:
        if isinstance(outcome, bytes):
            status, headers, payload = 200, [_JSON], outcome
        else:
            status, headers, payload = self._problem(outcome, request_id)
        headers.append((b"content-length", b"%d" % len(payload)))
        self._record("POST", route, status, request_id, began)
        return status, self._complete(headers, request_id), payload

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
        self._record(scope["method"], path if path in self._routes else "other", status, request_id, began)

    def _record(self, method: str, route: str, status: int, request_id: str, began: float) -> None:
        seconds = perf_counter() - began
        self._metrics.request(route, status, seconds)
        if route not in QUIET:
            self._log.line(
                "request", id=request_id, method=method, route=route, status=status, ms=round(seconds * 1000, 3)
            )

    def _bundle(self, headers: Headers) -> Bundle:
        self._keys.require(headers)
        bundle = self._state.bundle
        if bundle is None:
            raise not_ready(self._state)
        return bundle

    async def _score(
        self, endpoint: Endpoint, request_id: str, scope: dict[str, Any], receive: body.Receive, send: body.Send
    ) -> int:
        taken = 0
        try:
            if scope["method"] != "POST":
                raise HttpError(405, "Method Not Allowed", ((b"allow", b"POST"),))
            bundle = self._bundle(scope["headers"])
            self._slow.take()
            taken = 1
            content = await body.read(scope["headers"], receive, endpoint.limit)
            payload = await endpoint.answer(bundle, content, request_id)
            status, headers = 200, [_JSON]
        except body.ClientGone:
            return CLIENT_GONE
        except Exception as error:
            status, headers, payload = self._problem(error, request_id)
        finally:
            self._slow.give_back(taken)
        headers.append((b"content-length", b"%d" % len(payload)))
        await send({"type": "http.response.start", "status": status, "headers": self._complete(headers, request_id)})
        await send({"type": "http.response.body", "body": payload})
        return status

    def _problem(self, error: Exception, request_id: str) -> tuple[int, Headers, bytes]:
        """The answer to a refusal, or to a failure of ours: its trace goes to the log, its id to the client."""
        if isinstance(error, HttpError):
            return error.status, [_JSON, *error.headers], msgspec.json.encode({"detail": error.detail})
        trace = "".join(traceback.format_exception(error))
        self._log.event("failure", "ERROR", id=request_id, traceback=trace)
        return 500, [_JSON], msgspec.json.encode({"detail": f"internal error; its id is {request_id}"})

    async def _pass_on(self, request_id: str, scope: dict[str, Any], receive: body.Receive, send: body.Send) -> int:
        status, started = 500, False

        async def watched(message: body.Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message["headers"] = _with_one_policy(self._complete(list(message["headers"]), request_id))
            await send(message)

        try:
            if scope["path"] in GUARDED:
                self._keys.require(scope["headers"])
            await self._inner(scope, receive, watched)
        except Exception as error:
            failed, headers, payload = self._problem(error, request_id)
            if not started:
                headers.append((b"content-length", b"%d" % len(payload)))
                await watched({"type": "http.response.start", "status": failed, "headers": headers})
                await watched({"type": "http.response.body", "body": payload})
        return status

    def _complete(self, headers: Headers, request_id: str) -> Headers:
        """With what every answer carries."""
        headers += self._headers
        headers.append((b"x-request-id", request_id.encode()))
        if self._state.draining and _CLOSE not in headers:
            headers.append(_CLOSE)  # the client opens its next connection to a pod that stays
        return headers


def _with_one_policy(headers: Headers) -> Headers:
    """A page's own policy instead of ours."""
    own = any(name == _POLICY[0] for name, value in headers if value is not _POLICY[1])
    return [header for header in headers if header is not _POLICY] if own else headers


def _request_id(headers: Headers) -> str:
    """The caller's X-Request-ID if it is harmless, else one of ours."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{getrandbits(64):016x}"
