"""uvicorn's HTTP protocol, plus timeouts for slow clients and a fast path for POST /predict.

A prediction costs less than the task, the event and the two messages with which ASGI carries it. So a usual POST to
/predict is kept until its body is complete, and then answered from a queue that the event loop empties in its next
iteration. Every other request takes the ASGI path.
"""

import asyncio
from time import perf_counter
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.config import Config
from api.errors import HttpError
from api.http.body import MAX_PREDICT_BYTES, Headers
from api.http.gateway import OTHER, PREDICT, Gateway, Reply, Request
from api.telemetry.metrics import Metrics
from include.baskets.bundle import Bundle

MAX_HEAD_BYTES = 64 * 1024
_CLOSE = (b"connection", b"close")
_INVALID_REQUEST = HttpError(400, "this is not a valid HTTP request", (_CLOSE,))
_HEAD_TOO_LARGE = HttpError(431, f"the request line and headers are larger than {MAX_HEAD_BYTES} bytes", (_CLOSE,))

Stage = Literal["head", "body"]
"""The part of a request that is being received."""


class PredictionQueue:
    """Predictions that arrived in one iteration of the event loop. The next iteration answers all of them with one run
    of the model, which costs far less than a run for each. More than the limit of requests in flight are refused."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._pending: list[tuple[Protocol, RequestResponseCycle, float]] = []
        self._bundle: Bundle

    def add(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        """Queue a request whose body is complete, or refuse it."""
        began = perf_counter()
        headers = _headers(cycle)
        try:
            self._bundle = self.gateway.accept(headers)
        except HttpError as refusal:
            protocol.answer(cycle, self.gateway.refuse(refusal, headers, PREDICT, began))
            return
        if not self._pending:
            protocol.loop.call_soon(self._answer_pending)
        self._pending.append((protocol, cycle, began))

    def _answer_pending(self) -> None:
        pending, self._pending = self._pending, []
        requests = [Request(_headers(cycle), bytes(cycle.body), began) for _, cycle, began in pending]
        for (protocol, cycle, _), reply in zip(pending, self.gateway.predict(self._bundle, requests), strict=True):
            protocol.answer(cycle, reply)


def _headers(cycle: RequestResponseCycle) -> Headers:
    return cycle.scope["headers"]  # type: ignore[return-value] # uvicorn types it as an Iterable; it is a list


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, queue: PredictionQueue, metrics: Metrics, limits: Config, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue = queue
        self._metrics = metrics
        self._timeouts: dict[Stage, float] = {
            "head": limits.request_header_seconds,
            "body": limits.request_body_seconds,
        }
        self._stage: Stage | None = None
        self._timed_stage: Stage | None = None  # the stage that `_timeout` limits
        self._timeout: asyncio.TimerHandle | None = None
        self._unread_timeout: asyncio.TimerHandle | None = None  # for a client that does not read its answers
        self._head_bytes = 0
        self._message_ended = False  # a request ended in the data that is being parsed
        self._incomplete: RequestResponseCycle | None = None  # a prediction whose body is not complete
        self._unread: RequestResponseCycle | None = None  # answered; the next request waits until the client reads

    # --- timeouts: set when data leaves a request unfinished, so never for the usual request ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Start the timeout for the first head."""
        super().connection_made(transport)
        self._stage = "head"
        self._restart_timeout()

    def data_received(self, data: bytes) -> None:
        """Parse data, refuse a head that is too large, and set the timeout of the stage that begins."""
        self._message_ended = False
        super().data_received(data)
        if self._stage == "head" and not self._message_ended:  # otherwise only the end of `data` belongs to this head
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)
        if self._stage != self._timed_stage:
            self._restart_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timeouts."""
        super().connection_lost(exc)
        self._stage = None
        self._restart_timeout()
        if self._unread_timeout is not None:
            self._unread_timeout.cancel()
        if self._incomplete is not None:
            self._use_asgi(self._incomplete)  # which notices that the client is gone, and records it

    def pause_writing(self) -> None:
        """Give a client that has left about 64 KiB of answers unread the timeout of a body to read them."""
        super().pause_writing()
        self._unread_timeout = self.loop.call_later(self._timeouts["body"], self._abort_slow_client)

    def resume_writing(self) -> None:
        """Go on with the next request of a client that reads its answers again."""
        super().resume_writing()
        if self._unread_timeout is not None:
            self._unread_timeout.cancel()
        unread, self._unread = self._unread, None
        if unread is not None:
            unread.on_response()

    def _restart_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        self._timed_stage = self._stage
        if self._stage is not None:
            self._timeout = self.loop.call_later(self._timeouts[self._stage], self._abort_slow_client)

    def _abort_slow_client(self) -> None:
        if self.flow.read_paused and not self.flow.write_paused:
            self._restart_timeout()  # the client cannot go on, because the server is not reading
            return
        self._metrics.slow_clients.inc()
        self.transport.abort()  # close() would wait until the client has read what is written

    # --- callbacks of the parser ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage = "head"
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._stage = "body"
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._incomplete is not None and len(self._incomplete.body) > MAX_PREDICT_BYTES:
            self._use_asgi(self._incomplete)  # which refuses it without reading the rest

    def on_message_complete(self) -> None:
        self._stage = None
        self._message_ended = True
        super().on_message_complete()
        if self._incomplete is not None:
            complete, self._incomplete = self._incomplete, None
            self._queue.add(self, complete)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # resumes reading
        if self.pipeline:
            self.flow.pause_reading()  # answer what is parsed first, or a long pipeline would fill the memory

    # --- the fast path ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Keep a prediction for the fast path; start a task for any other request. Overrides a method of uvicorn."""
        scope = cycle.scope
        if scope["path"] != PREDICT or scope["method"] != "POST" or cycle.waiting_for_100_continue:
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._incomplete = cycle
        else:  # it waited behind another request of its connection
            self._queue.add(self, cycle)

    def _use_asgi(self, cycle: RequestResponseCycle) -> None:
        self._incomplete = None
        super()._start_asgi_task(cycle, self.app)

    def answer(self, cycle: RequestResponseCycle, reply: Reply) -> None:
        """Write a whole answer, then let the connection go on to its next request, as the ASGI path does.

        A client that does not read its answers gets no further ones, because they would fill the memory.
        """
        if cycle.disconnected:
            return
        if _CLOSE in reply.headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            reply.headers.append(_CLOSE)
        self._write(reply)
        cycle.response_started = True
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        if self.flow.write_paused:
            self.flow.pause_reading()
            self._unread = cycle
        else:
            cycle.on_response()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP. Overrides uvicorn's answer, which names the server."""
        self._refuse(_INVALID_REQUEST)

    def _refuse(self, error: HttpError) -> None:
        """End the connection with a refusal, or without one if earlier requests are still to be answered.

        Answers are matched to requests by their order, so the refusal must not overtake them.
        """
        last = self.cycle
        if last is not None and not last.response_complete and (self.pipeline or not last.more_body):
            last.keep_alive = False
            return
        self._stage = None
        self._write(self._queue.gateway.refuse(error, [], OTHER, perf_counter()))
        self.transport.close()

    def _write(self, reply: Reply) -> None:
        head = b"\r\n".join(map(b": ".join, reply.headers))
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[reply.status], head, reply.payload))
