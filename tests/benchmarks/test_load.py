"""The load generator counts what really happened, and never reports nothing as something."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.load import NothingMeasuredError, closed_loop, open_loop

BODIES = [b"good", b"good"]


class Handler(BaseHTTPRequestHandler):
    """Does what the body says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"slow":
            time.sleep(0.3)
        if body == b"cut":
            self.close_connection = True
            return
        self.send_response(503 if body == b"busy" else 200)
        self.send_header("Content-Length", "2")
        if body == b"last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"{}")

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # a client that waits no longer
            super().handle()

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.connections, server.daemon_threads = 0, True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/predict"


def test_an_open_loop_keeps_its_rate(url: str) -> None:
    report = open_loop(url, rate=100, seconds=0.5, bodies=BODIES)

    assert (report.sent, report.answered, report.failed) == (50, 50, {})
    assert len(report.milliseconds) == 50
    assert 0 < report.percentile(0.5) <= report.percentile(0.99)


def test_kept_and_new_connections(url: str, server: ThreadingHTTPServer) -> None:
    assert open_loop(url, 100, 0.5, BODIES, kept=1).answered == 50
    assert server.connections < 20
    server.connections = 0
    assert open_loop(url, 100, 0.5, BODIES, kept=0).answered == 50
    assert server.connections == 50


def test_a_closed_loop_waits_for_answers(url: str, server: ThreadingHTTPServer) -> None:
    report = closed_loop(url, connections=3, seconds=0.3, bodies=BODIES)

    assert report.answered == report.sent > 3
    assert server.connections == 3


@pytest.mark.parametrize(("body", "reason"), [(b"busy", "status 503"), (b"cut", "closed"), (b"slow", "timeout")])
def test_a_failure_is_counted_by_its_reason(url: str, body: bytes, reason: str) -> None:
    report = open_loop(url, 100, 0.2, [b"good", body], timeout=0.2)

    assert report.failed == {reason: 10}
    assert report.answered == 10


def test_a_connection_that_the_server_gives_up_is_no_failure(url: str) -> None:
    assert open_loop(url, 100, 0.2, [b"good", b"last"]).failed == {}


def test_latency_counts_from_when_the_request_was_due(url: str) -> None:
    assert open_loop(url, 100, 0.1, [b"slow"]).percentile(0) >= 300


def test_nothing_answered_raises_with_the_reason() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(NothingMeasuredError, match="'refused': 20"):
            open_loop(f"http://127.0.0.1:{unused.getsockname()[1]}/", 100, 0.2, BODIES)


def test_an_open_loop_can_be_stopped(url: str) -> None:
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()

    assert open_loop(url, 100, 30, BODIES, stop=stop).answered < 100
