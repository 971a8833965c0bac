"""Load on an HTTP server from one thread: as fast as so many connections can (closed loop), or at a fixed rate (open).

Sockets and one selector, no library in between: the generator must cost less than the server that it measures.
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
"""An open loop spreads its kept requests over at least so many connections."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_CHUNK = 1 << 16


class NothingMeasuredError(Exception):
    """Not one request was answered: there are no latencies, and the text says what came instead."""


@dataclass(frozen=True)
class Report:
    """sent = answered (2xx) + all that failed, by reason: `refused`, `reset`, `closed` (no whole answer), `timeout`,
    `status 503`... milliseconds: of the answered, sorted; in an open loop they count from when the request was due.
    cpu_seconds: what the generator itself used."""

    seconds: float
    cpu_seconds: float
    sent: int
    answered: int
    failed: Mapping[str, int]
    milliseconds: Sequence[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share (0 to 1) of the answers came."""
        return self.milliseconds[min(int(share * len(self.milliseconds)), len(self.milliseconds) - 1)]


def closed_loop(
    url: str,
    connections: int,
    seconds: float,
    bodies: Sequence[bytes],
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Report:
    """Each connection sends its next request when the answer to the last one is there. NothingMeasuredError."""
    load = _Load(url, bodies, headers, timeout)
    until = load.began + seconds
    for _ in range(connections):
        load.start(load.began, kept=True)
    while load.under_way:
        load.turn(load.timeout)
        now = time.perf_counter()
        if now < until:
            for _ in range(connections - len(load.under_way)):
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
    """A request every 1/rate seconds, whether the last ones were answered or not, for so long or until `stop` is set.

    kept: share of the requests (0 to 1) sent over kept connections; each of the others opens one of its own and closes
    it. bodies are sent in turn, as POST. NothingMeasuredError when no request was answered."""
    load, draw = _Load(url, bodies, headers, timeout, KEPT_CONNECTIONS), Random(0)
    for number in range(round(rate * seconds)):
        due = load.began + number / rate
        while (early := due - time.perf_counter()) > 0:
            load.turn(early)
        if stop and stop.is_set():
            break
        load.start(due, kept=draw.random() < kept)
        load.turn(0)
    while load.under_way:
        load.turn(load.timeout)
    return load.report()


class _Connection:
    """A socket with at most one request under way; `due` is when that was to be sent."""

    __slots__ = ("due", "kept", "received", "sock", "unsent", "waits")

    def __init__(self, sock: socket.socket, kept: bool) -> None:
        self.sock, self.kept, self.due = sock, kept, 0.0
        self.unsent = self.received = b""
        self.waits = 0  # for these events of the selector


class _Load:
    """The requests under way, the idle connections, and what has been counted so far."""

    def __init__(
        self,
        url: str,
        bodies: Sequence[bytes],
        headers: Mapping[str, str] | None,
        timeout: float,
        least_connections: int = 0,
    ) -> None:
        where = urlsplit(url)
        host, port = where.hostname or "", where.port or 80
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._family, self._address = found[0], found[4]
        lines = {"Host": f"{host}:{port}", "Content-Type": "application/json", **(headers or {})}
        self._requests = {kept: [_request(where.path, lines, body, kept) for body in bodies] for kept in (True, False)}
        self._least, self.timeout = least_connections, timeout
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Connection] = deque()
        self.under_way: dict[_Connection, None] = {}  # in the order in which they were started
        self._open_kept, self._sent = 0, 0
        self._failed: Counter[str] = Counter()
        self._milliseconds: list[float] = []
        self.began, self._cpu_began = time.perf_counter(), time.process_time()

    def start(self, due: float, kept: bool) -> None:
        """Send the next body over an idle connection if it may be a kept one and there are enough, else a new one."""
        requests = self._requests[kept]
        request = requests[self._sent % len(requests)]
        self._sent += 1
        if kept and self._idle and self._open_kept >= self._least:
            connection = self._idle.popleft()
        else:
            try:
                connection = self._connect(kept)
            except OSError as error:
                self._failed[_reason(error)] += 1
                return
        connection.due, connection.unsent = due, request
        self.under_way[connection] = None
        if connection.waits == selectors.EVENT_READ:
            self._write(connection)

    def turn(self, seconds: float) -> None:
        """Handle what happens, waiting for it so long at most; give up requests that are too old."""
        if self.under_way:
            oldest = next(iter(self.under_way))
            seconds = min(seconds, oldest.due + self.timeout - time.perf_counter())
            if seconds < 0:
                self._drop(oldest, "timeout")
                return
        # the selector's own timeout counts whole milliseconds, select's microseconds
        select.select([self._selector.fileno()], [], [], seconds)
        for key, events in self._selector.select(0):
            connection = key.data
            if events & selectors.EVENT_WRITE:
                self._connected_or_writable(connection)
            else:
                self._read(connection)

    def report(self) -> Report:
        seconds, cpu_seconds = time.perf_counter() - self.began, time.process_time() - self._cpu_began
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
        self._wait(connection, selectors.EVENT_WRITE)
        self._open_kept += kept
        return connection

    def _wait(self, connection: _Connection, events: int) -> None:
        change = self._selector.modify if connection.waits else self._selector.register
        change(connection.sock, events, connection)
        connection.waits = events

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
        if connection.waits != events:
            self._wait(connection, events)

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
        del self.under_way[connection]
        connection.received = b""
        if connection.kept and not _CLOSE.search(head):
            self._idle.append(connection)
        else:
            self._close(connection)

    def _drop(self, connection: _Connection, reason: str) -> None:
        """The connection is of no use any more; its request, if it has one under way, failed."""
        if connection in self.under_way:
            self._failed[reason] += 1
            del self.under_way[connection]
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
    """OSError picks its subclass by errno."""
    match error:
        case ConnectionRefusedError():
            return "refused"
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
    return error.strerror or f"error {error.errno}"
