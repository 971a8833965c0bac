"""The outermost ASGI layer: scores baskets itself, forwards every other path to FastAPI, logs and counts both.

FastAPI's routing costs four times what a prediction costs (measured: 0.12 of a bare ASGI app's rate instead of 0.28),
so the two scoring paths do not go through it. openapi.py adds them to FastAPI's documentation.
"""

import re
import traceback
from collections.abc import Sequence
from random import getrandbits
from time import perf_counter

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import HttpError
from api.http.auth import Keys
from api.http.body import ClientDisconnected, Headers, read_body
from api.http.concurrency import ConcurrencyLimiter
from api.http.scoring import Endpoint, Predict, PredictBatch
from api.model.state import State
from api.telemetry.cloudwatch import PROBE_ROUTES
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from include.baskets.bundle import Bundle

PREDICT = "/predict"
BATCH = "/predict/batch"
OTHER = "other"
"""The route of a request to an unknown path, in metrics and logs."""
GUARDED = frozenset({"/model", "/metrics", "/products"})
"""Routes of FastAPI that require the API key, if one is set."""
CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected before its answer; only in logs and metrics."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_DEFAULT_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")


class Request(msgspec.Struct):
    """A complete request to POST /predict. began: perf_counter() when its body was complete."""

    headers: Headers
    content: bytes
    began: float


class Reply(msgspec.Struct):
    """A complete answer."""

    status: int
    headers: Headers
    payload: bytes


class Gateway:
    """An ASGI application. For the fast path, protocol.py calls `accept` and `predict` instead."""

    def __init__(
        self, state: State, log: Log, metrics: Metrics, keys: Keys, inner: ASGIApp, routes: frozenset[str]
    ) -> None:
        """Wrap the application `inner`, which serves `routes`."""
        self._state = state
        self._log = log
        self._metrics = metrics
        self._keys = keys
        self._inner = inner
        self._routes = routes | {PREDICT, BATCH}
        self._predict = Predict(state, log, metrics)
        self._endpoints: dict[str, Endpoint] = {PREDICT: self._predict, BATCH: PredictBatch(state, log, metrics)}
        version = (b"x-model-version", state.config.model_version.encode())
        self._common_headers = [*_SECURITY_HEADERS, _DEFAULT_POLICY, version]
        # Two limits: a client that sends a batch slowly must not take the slot of a prediction.
        self._fast_path_limiter = ConcurrencyLimiter(state.config.max_in_flight)
        self._asgi_limiter = ConcurrencyLimiter(state.config.max_batches)

    # --- the fast path ---

    def accept(self, headers: Headers) -> Bundle:
        """Count a complete prediction request as in flight and return the bundle for it. Raise HttpError 401 or 503."""
        bundle = self._require_bundle(headers)
        self._fast_path_limiter.acquire()
        return bundle

    def predict(self, bundle: Bundle, requests: list[Request]) -> list[Reply]:
        """Answer accepted requests to POST /predict. The model runs once for all of them."""
        ids = [_request_id(request.headers) for request in requests]
        outcomes: Sequence[bytes | Exception]
        try:
            outcomes = self._predict.answer_all(bundle, [request.content for request in requests], ids)
        except Exception as error:
            outcomes = [error] * len(requests)
        self._fast_path_limiter.release(len(requests))
        return [
            self._reply(outcome, request_id, PREDICT, request.began)
            for outcome, request_id, request in zip(outcomes, ids, requests, strict=True)
        ]

    def refuse(self, error: HttpError, headers: Headers, route: str, began: float) -> Reply:
        """Answer a request that was not accepted."""
        return self._reply(error, _request_id(headers), route, began)

    def _reply(self, outcome: bytes | Exception, request_id: str, route: str, began: float) -> Reply:
        reply = Reply(200, [_JSON], outcome) if isinstance(outcome, bytes) else self._error_reply(outcome, request_id)
        self._add_headers(reply, request_id)
        self._record("POST", route, reply.status, request_id, began)
        return reply

    # --- the ASGI path ---

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an ASGI request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        began = perf_counter()
        path = scope["path"]
        request_id = _request_id(scope["headers"])
        endpoint = self._endpoints.get(path)
        if endpoint is not None:
            status = await self._score(endpoint, request_id, scope, receive, send)
        else:
            status = await self._forward(request_id, scope, receive, send)
        self._record(scope["method"], path if path in self._routes else OTHER, status, request_id, began)

    async def _score(self, endpoint: Endpoint, request_id: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer a request to a scoring endpoint and return the status."""
        try:
            reply = Reply(200, [_JSON], await self._score_body(endpoint, request_id, scope, receive))
        except ClientDisconnected:
            return CLIENT_CLOSED_REQUEST
        except Exception as error:
            reply = self._error_reply(error, request_id)
        self._add_headers(reply, request_id)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.payload})
        return reply.status

    async def _score_body(self, endpoint: Endpoint, request_id: str, scope: Scope, receive: Receive) -> bytes:
        if scope["method"] != "POST":
            raise HttpError(405, "Method Not Allowed", ((b"allow", b"POST"),))
        bundle = self._require_bundle(scope["headers"])
        self._asgi_limiter.acquire()
        try:
            content = await read_body(scope["headers"], receive, endpoint.max_bytes)
            return await endpoint.answer(bundle, content, request_id)
        finally:
            self._asgi_limiter.release()

    async def _forward(self, request_id: str, scope: Scope, receive: Receive, send: Send) -> int:
        """Let FastAPI answer and return the status."""
        status = 500
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status = message["status"]
                started = True
                message["headers"] = _with_one_policy(self._with_common_headers(list(message["headers"]), request_id))
            await send(message)

        try:
            if scope["path"] in GUARDED:
                self._keys.require(scope["headers"])
            await self._inner(scope, receive, send_with_headers)
        except Exception as error:
            reply = self._error_reply(error, request_id)
            if not started:
                reply.headers.append((b"content-length", b"%d" % len(reply.payload)))
                await send_with_headers(
                    {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
                )
                await send_with_headers({"type": "http.response.body", "body": reply.payload})
        return status

    # --- both paths ---

    def _require_bundle(self, headers: Headers) -> Bundle:
        """Return the bundle. Raise HttpError 401 without an accepted key, 503 before the bundle is loaded."""
        self._keys.require(headers)
        bundle = self._state.bundle
        if bundle is None:
            reason = f"the model is not loaded yet ({self._state.reason}): try again later"
            raise HttpError(503, reason, ((b"retry-after", b"5"),))
        return bundle

    def _record(self, method: str, route: str, status: int, request_id: str, began: float) -> None:
        seconds = perf_counter() - began
        self._metrics.request(route, status, seconds)
        if route not in PROBE_ROUTES:
            self._log.line(
                "request", id=request_id, method=method, route=route, status=status, ms=round(seconds * 1000, 3)
            )

    def _error_reply(self, error: Exception, request_id: str) -> Reply:
        """Return the answer to a refusal, or to an internal error: its traceback is logged, its id is answered."""
        if isinstance(error, HttpError):
            return Reply(error.status, [_JSON, *error.headers], msgspec.json.encode({"detail": error.detail}))
        trace = "".join(traceback.format_exception(error))
        self._log.event("failure", "ERROR", id=request_id, traceback=trace)
        detail = f"internal error: report the request id {request_id} to the operator of this API"
        return Reply(500, [_JSON], msgspec.json.encode({"detail": detail}))

    def _add_headers(self, reply: Reply, request_id: str) -> None:
        reply.headers.append((b"content-length", b"%d" % len(reply.payload)))
        self._with_common_headers(reply.headers, request_id)

    def _with_common_headers(self, headers: Headers, request_id: str) -> Headers:
        """Add the headers that every answer carries, in place."""
        headers += self._common_headers
        headers.append((b"x-request-id", request_id.encode()))
        if self._state.draining and _CLOSE not in headers:
            headers.append(_CLOSE)  # the client's next connection goes to a pod that stays
        return headers


def _with_one_policy(headers: Headers) -> Headers:
    """Drop the default Content-Security-Policy if the page has its own."""
    own = any(name == _DEFAULT_POLICY[0] for name, value in headers if value is not _DEFAULT_POLICY[1])
    return [header for header in headers if header is not _DEFAULT_POLICY] if own else headers


def _request_id(headers: Headers) -> str:
    """Return the client's X-Request-ID if it has a safe form, else a random one."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return f"{getrandbits(64):016x}"
