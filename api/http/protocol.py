"""uvicorn's HTTP protocol with what it lacks: deadlines for slow clients, and a short way for POST /predict.

A prediction costs less than the task, the event and the two messages by which ASGI carries it. So the usual request, a
POST to /predict, is kept until its body is complete, and answered from a queue that the event loop empties at its next
turn. Everything else takes the ASGI way.
"""

from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from api.config import Config
from api.errors import HttpError
from api.http.auth import Headers
from api.http.body import PREDICT_BYTES
from api.http.gateway import PREDICT, Gateway, Reply
from api.telemetry.metrics import Metrics

MAX_HEAD_BYTES = 64 * 1024
_CLOSE = (b"connection", b"close")
_INVALID = HttpError(400, "this is not a valid HTTP request", (_CLOSE,))
_HEAD_TOO_LARGE = HttpError(431, f"the request line and headers are larger than {MAX_HEAD_BYTES} bytes", (_CLOSE,))
_HEAD, _BODY = "head", "body"


class Queue:
    """Predictions that came at the same moment: the event loop's next turn answers all of them with one run of the
    model, which costs far less than a run for each. Beyond the limit of requests in flight the rest is refused."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self._waiting: list[tuple[Protocol, RequestResponseCycle, float]] = []
        self._bundle: Any = None

    def add(self, protocol: "Protocol", cycle: RequestResponseCycle) -> None:
        began = perf_counter()
        try:
            self._bundle = self.gateway.accept(_headers(cycle))
        except HttpError as refusal:
            protocol.answer(cycle, self.gateway.refuse(refusal, _headers(cycle), PREDICT, began))
            return
        if not self._waiting:
            protocol.loop.call_soon(self._empty)
        self._waiting.append((protocol, cycle, began))

    def _empty(self) -> None:
        waiting, self._waiting = self._waiting, []
        requests = [(_headers(cycle), bytes(cycle.body), began) for _, cycle, began in waiting]
        for (protocol, cycle, _), reply in zip(waiting, self.gateway.predict(self._bundle, requests), strict=True):
            protocol.answer(cycle, reply)


def _headers(cycle: RequestResponseCycle) -> Headers:
    return cycle.scope["headers"]  # type: ignore[return-value]


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *given: Any, queue: Queue, metrics: Metrics, limits: Config, **named: Any) -> None:
        super().__init__(*given, **named)
        self._queue, self._metrics = queue, metrics
        self._seconds = {_HEAD: limits.request_header_seconds, _BODY: limits.request_body_seconds}
        self._kept: RequestResponseCycle | None = None  # a prediction whose body is not complete
        self._stage: str | None = None  # of the request that is being received
        self._timed: str | None = None  # the stage that `_deadline` is for
        self._deadline: Any = None
        self._head_bytes = 0
        self._ended = False  # a request, in the piece that is being read
        self._unread: Any = None  # the deadline of a client that does not read its answers
        self._held: RequestResponseCycle | None = None  # answered; what comes after it waits until the client reads

    # --- deadlines: set when a turn of the loop leaves a request unfinished, so never for the usual one ---

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._stage = _HEAD
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        self._ended = False
        super().data_received(data)
        if self._stage is _HEAD and not self._ended:  # else only the end of the piece is this head's
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_HEAD_TOO_LARGE)
        if self._stage is not self._timed:
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stage = None
        self._set_deadline()
        if self._unread is not None:
            self._unread.cancel()
        if self._kept is not None:
            self._asgi(self._kept)  # finds that the client is gone, and records it

    def pause_writing(self) -> None:
        """Some 64 KiB of answers wait for a client that does not read them: it has as long as for a body."""
        super().pause_writing()
        self._unread = self.loop.call_later(self._seconds[_BODY], self._cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread.cancel()
        held, self._held = self._held, None
        if held is not None:
            held.on_response()

    def _set_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._timed = self._stage
        self._deadline = self._stage and self.loop.call_later(self._seconds[self._stage], self._cut_off)

    def _cut_off(self) -> None:
        if self.flow.read_paused and not self.flow.write_paused:
            self._set_deadline()  # the client cannot go on: it is this side that does not read
            return
        self._metrics.slow_clients.inc()
        self.transport.abort()  # close() would wait until the client has read what is written

    # --- the parser's callbacks ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage, self._head_bytes = _HEAD, 0

    def on_headers_complete(self) -> None:
        self._stage = _BODY
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._kept is not None and len(self._kept.body) > PREDICT_BYTES:
            self._asgi(self._kept)  # refuses it, and does not read the rest

    def on_message_complete(self) -> None:
        self._stage, self._ended = None, True
        super().on_message_complete()
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._queue.add(self, kept)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # reads on
        if self.pipeline:
            self.flow.pause_reading()  # what was read first: else a long row of requests is all taken into memory

    # --- the short way ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope = cycle.scope
        if scope["path"] != PREDICT or scope["method"] != "POST" or cycle.waiting_for_100_continue:
            super()._start_asgi_task(cycle, app)
        elif cycle.more_body:
            self._kept = cycle
        else:  # it waited behind another request of its connection
            self._queue.add(self, cycle)

    def _asgi(self, cycle: RequestResponseCycle) -> None:
        self._kept = None
        super()._start_asgi_task(cycle, self.app)

    def answer(self, cycle: RequestResponseCycle, reply: Reply) -> None:
        """Write a whole answer and let the connection go on to its next request, as the ASGI way does; not before the
        client reads what it is sent, or its answers would fill the memory."""
        if cycle.disconnected:
            return
        headers = reply[1]
        if _CLOSE in headers:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            headers.append(_CLOSE)
        self._write(reply)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        if self.flow.write_paused:
            self.flow.pause_reading()
            self._held = cycle
        else:
            cycle.on_response()

    def send_400_response(self, msg: str) -> None:
        self._refuse(_INVALID)

    def _refuse(self, error: HttpError) -> None:
        """The end of the connection, after the answers to the requests before, whose order tells them apart."""
        last = self.cycle
        if last is not None and not last.response_complete and (self.pipeline or not last.more_body):
            last.keep_alive = False
            return
        self._stage = None
        self._write(self._queue.gateway.refuse(error, [], "other", perf_counter()))
        self.transport.close()

    def _write(self, reply: Reply) -> None:
        status, headers, payload = reply
        lines = b"\r\n".join(map(b": ".join, headers))
        self.transport.write(b"%b%b\r\n\r\n%b" % (STATUS_LINE[status], lines, payload))
