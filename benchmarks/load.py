"""Generate load on an HTTP server: as fast as a number of connections can (closed loop) or at a fixed rate (open loop).

One thread with sockets and a selector, without an HTTP library: the generator must cost less than the measured server.
"""

import re
import select
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from threading import Event
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 5.0
KEPT_CONNECTIONS = 8
"""The minimum of connections over which an open loop spreads its kept requests."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNK = 1 << 16


class NothingMeasuredError(Exception):
    """No request was answered, so there are no latencies; the text holds the reasons."""


@dataclass(frozen=True)
class Report:
    """The result of a loop. sent = answered (status 2xx) + failed.

    failed: counts by reason: `refused`, `reset`, `closed` (no complete answer), `timeout`, `status 503`, ...
    milliseconds: latencies of the answered requests, sorted; in an open loop from the time when a request was due.
    cpu_seconds: used by the generator itself.
    """

    seconds: float
    cpu_seconds: float
    sent: int
    answered: int
    failed: Mapping[str, int]
    milliseconds: Sequence[float]

    @property
    def rate(self) -> float:
        """Return the answers per second."""
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which this share (0 to 1) of the answers came."""
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]


def closed_loop(
    url: str,
    connections: int,
    seconds: float,
    bodies: Sequence[bytes],
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Report:
    """Send requests over a number of connections, each as soon as the previous one is answered.

    Raise NothingMeasuredError when no request was answered.
    """
    load = _Load(url, bodies, headers, timeout)
    end = load.began + seconds
    for _ in range(connections):
        load.start(load.began, kept=True)
    while load.in_flight:
        load.process_events(load.timeout)
        now = time.perf_counter()
        if now < end:
            for _ in range(connections - len(load.in_flight)):
                load.start(now, kept=True)
    return load.report()


def open_loop(
    url: str,
    rate: float,
    seconds: float,
    bodies: Sequence[bytes],
    kept: float = 1.0,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
    stop: Event | None = None,
) -> Report:
    """Send a request every 1/rate seconds, whether earlier ones are answered or not, for `seconds` or until `stop`.

    kept: share of the requests (0 to 1) sent over kept connections; each other request has its own connection.
    bodies: sent in turn, as POST.
    Raise NothingMeasuredError when no request was answered.
    """
    load = _Load(url, bodies, headers, timeout, KEPT_CONNECTIONS)
    draw = Random(0)
    for number in range(round(rate * seconds)):
        due = load.began + number / rate
        while (early := due - time.perf_counter()) > 0:
            load.process_events(early)
        if stop and stop.is_set():
            break
        load.start(due, kept=draw.random() < kept)
        load.process_events(0)
    while load.in_flight:
        load.process_events(load.timeout)
    return load.report()


class _Connection:
    """A socket with at most one request in flight; `due` is when that one was to be sent."""

    __slots__ = ("due", "events", "kept", "received", "sock", "unsent")

    def __init__(self, sock: socket.socket, kept: bool) -> None:
        self.sock = sock
        self.kept = kept
        self.due = 0.0
        self.unsent = b""
        self.received = b""
        self.events = 0  # of the selector, for which it is registered


class _Load:
    """The requests in flight, the idle connections, and the counts so far."""

    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        headers: Mapping[str, str] | None,
        timeout: float,
        min_connections: int = 0,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or 80
        resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._family = resolved[0]
        self._address = resolved[4]
        lines = {"Host": f"{host}:{port}", "Content-Type": "application/json", **(headers or {})}
        self._requests = {kept: [_request(parts.path, lines, body, kept) for body in bodies] for kept in (True, False)}
        self._min_connections = min_connections
        self.timeout = timeout
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Connection] = deque()
        self.in_flight: dict[_Connection, None] = {}  # in the order of their start
        self._open_kept = 0
        self._sent = 0
        self._failed: Counter[str] = Counter()
        self._milliseconds: list[float] = []
        self.began = time.perf_counter()
        self._cpu_began = time.process_time()

    def start(self, due: float, kept: bool) -> None:
        """Send the next body, over an idle connection if `kept` allows it and enough are open, else over a new one."""
        requests = self._requests[kept]
        request = requests[self._sent % len(requests)]
        self._sent += 1
        if kept and self._idle and self._open_kept >= self._min_connections:
            connection = self._idle.popleft()
        else:
            try:
                connection = self._connect(kept)
            except OSError as error:
                self._failed[_reason(error)] += 1
                return
        connection.due = due
        connection.unsent = request
        self.in_flight[connection] = None
        if connection.events == selectors.EVENT_READ:
            self._write(connection)

    def process_events(self, seconds: float) -> None:
        """Handle the next events, waiting at most `seconds`; give up a request that exceeds the timeout."""
        if self.in_flight:
            oldest = next(iter(self.in_flight))
            seconds = min(seconds, oldest.due + self.timeout - time.perf_counter())
            if seconds < 0:
                self._drop(oldest, "timeout")
                return
        # The selector's own timeout counts whole milliseconds, that of select() microseconds.
        select.select([self._selector.fileno()], [], [], seconds)
        for key, events in self._selector.select(0):
            connection = key.data
            if events & selectors.EVENT_WRITE:
                self._connected_or_writable(connection)
            else:
                self._read(connection)

    def report(self) -> Report:
        """Close the idle connections and return the counts. Raise NothingMeasuredError without any answer."""
        seconds = time.perf_counter() - self.began
        cpu_seconds = time.process_time() - self._cpu_began
        for connection in self._idle:
            connection.sock.close()
        self._selector.close()
        if not self._milliseconds:
            raise NothingMeasuredError(f"none of {self._sent} requests was answered: {dict(self._failed)}")
        answered = len(self._milliseconds)
        return Report(seconds, cpu_seconds, self._sent, answered, dict(self._failed), sorted(self._milliseconds))

    def _connect(self, kept: bool) -> _Connection:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect_ex(self._address)
        connection = _Connection(sock, kept)
        self._register(connection, selectors.EVENT_WRITE)
        self._open_kept += kept
        return connection

    def _register(self, connection: _Connection, events: int) -> None:
        change = self._selector.modify if connection.events else self._selector.register
        change(connection.sock, events, connection)
        connection.events = events

    def _connected_or_writable(self, connection: _Connection) -> None:
        if error := connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop(connection, _reason(OSError(error, "")))
        else:
            self._write(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            written = connection.sock.send(connection.unsent)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._drop(connection, _reason(error))
            return
        connection.unsent = connection.unsent[written:]
        events = selectors.EVENT_WRITE if connection.unsent else selectors.EVENT_READ
        if connection.events != events:
            self._register(connection, events)

    def _read(self, connection: _Connection) -> None:
        try:
            received = connection.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(connection, _reason(error))
            return
        if not received:
            self._drop(connection, "closed")
            return
        connection.received += received
        head_end = connection.received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = connection.received[:head_end]
        length = _LENGTH.search(head)
        if length is None:
            self._drop(connection, "answer without a length")
        elif len(connection.received) >= head_end + 4 + int(length[1]):
            self._answered(connection, head)

    def _answered(self, connection: _Connection, head: bytes) -> None:
        status = head[9:12]
        if status[:1] == b"2":
            self._milliseconds.append((time.perf_counter() - connection.due) * 1000)
        else:
            self._failed[f"status {status.decode()}"] += 1
        del self.in_flight[connection]
        connection.received = b""
        if connection.kept and not _CLOSE.search(head):
            self._idle.append(connection)
        else:
            self._close(connection)

    def _drop(self, connection: _Connection, reason: str) -> None:
        """Close a broken connection; its request in flight, if any, failed for `reason`."""
        if connection in self.in_flight:
            self._failed[reason] += 1
            del self.in_flight[connection]
        else:
            self._idle.remove(connection)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._open_kept -= connection.kept
        self._selector.unregister(connection.sock)
        connection.sock.close()


def _request(path: str, headers: Mapping[str, str], body: bytes, kept: bool) -> bytes:
    lines = [f"POST {path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    lines += [f"Content-Length: {len(body)}", f"Connection: {'keep-alive' if kept else 'close'}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _reason(error: OSError) -> str:
    """Return the reason of a failure; Python picks the subclass of OSError by errno."""
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
    return error.strerror or f"error {error.errno}"
