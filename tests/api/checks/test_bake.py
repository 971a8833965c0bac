"""Comparing a canary with stable pods: real servers, a killed one, a slow one, a failing one."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.checks import bake
from api.checks.bake import Side, parse_counts, regressions
from api.checks.client import Client
from include.baskets.bundle import Bundle
from tests.api.checks.test_verify import held_out, write
from tests.api.conftest import Process

pytestmark = pytest.mark.integration


class Fake:
    """A server that answers every basket after `delay` seconds with `status`, and counts as the API does."""

    def __init__(self, delay: float = 0.0, status: int = 200) -> None:
        fake = self
        self.answered = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def log_message(self, *_: object) -> None:
                pass

            def _answer(self, code: int, text: str) -> None:
                self.send_response(code)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self) -> None:
                line = f'retail_api_requests_total{{route="/predict",status="{status}"}} {float(fake.answered)}\n'
                self._answer(200, "{}" if self.path == "/ready" else line + "process_start_time_seconds 1.0\n")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(delay)
                fake.answered += 1
                self._answer(status, "{}")

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def fake() -> Iterator[Callable[..., str]]:
    """Start fake servers: fake(delay=..., status=...) returns the URL of one."""
    servers: list[Fake] = []

    def start_fake(**behaviour: Any) -> str:
        servers.append(Fake(**behaviour))
        return servers[-1].url

    yield start_fake
    for server in servers:
        server.close()


@pytest.fixture
def run(
    loaded: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run a bake of two URLs; return its exit code and its log lines."""
    monkeypatch.setattr(bake, "PAIRS_PER_SECOND", 1000)
    baskets = write(tmp_path / "held_out.jsonl", held_out(loaded))

    def run_bake(canary: str, stable: str, seconds: float = 0.6) -> tuple[int, list[dict[str, Any]]]:
        urls = {"BAKE_CANARY": canary, "BAKE_STABLE": stable}
        code = bake.main(urls | {"BAKE_SECONDS": str(seconds), "VERIFY_BASKETS": baskets})
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run_bake


def url(process: Process) -> str:
    process.until_ready()
    return f"http://127.0.0.1:{process.port}"


def test_canary_like_the_stable_pods_passes(start: Callable[..., Process], run: Callable[..., Any]) -> None:
    code, log = run(url(start()), url(start()))
    assert (code, log[-1]["result"]) == (0, "passed")
    assert log[-1]["canary"]["requests"] >= bake.MIN_REQUESTS
    assert log[-1]["canary"]["error_rate"] == 0
    assert len(log) > bake.REPORTS, "intermediate results and the verdict"


def test_killed_canary_fails_before_the_end(start: Callable[..., Process], run: Callable[..., Any]) -> None:
    canary, stable = start(), url(start())
    address = url(canary)
    threading.Timer(0.5, canary.kill).start()
    code, log = run(address, stable, seconds=12)
    assert code == 1
    assert "of the canary's requests failed" in log[-1]["reason"]
    assert log[-2]["second"] < 9, "the bake must end early"


def test_slow_canary_fails(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, log = run(fake(delay=0.04), fake(), seconds=6)
    assert code == 1
    assert "the canary's p95 is" in log[-1]["reason"]


def test_canary_with_errors_fails(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, log = run(fake(status=500), fake())
    assert code == 1
    assert "100.0% of the canary's requests failed, 0.0% of the stable" in log[-1]["reason"]


def test_errors_of_both_sides_do_not_fail_the_canary(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    assert run(fake(status=503), fake(status=503))[0] == 0


def test_too_few_requests_are_inconclusive(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, log = run(fake(), fake(), seconds=0)
    assert (code, log[-1]["result"]) == (2, "cannot tell")
    assert "too few requests" in log[-1]["reason"]


def test_missing_settings_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bake.main({"BAKE_CANARY": "http://127.0.0.1:1"}) == 2
    assert "BAKE_STABLE and BAKE_SECONDS and VERIFY_BASKETS must be set" in capsys.readouterr().out


def side(errors: int = 0, moved: bool = False, milliseconds: float = 2.0) -> Side:
    client = Client("http://127.0.0.1:1", None)
    return Side(client, answered=100, errors=errors, moved=moved, milliseconds=[milliseconds] * 50)


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        (side(), []),
        (side(errors=1), []),
        (side(errors=2), ["2.0% of the canary's requests failed"]),
        (side(milliseconds=26.0), []),
        (side(milliseconds=28.0), ["the canary's p95 is 28.0 ms"]),
        (side(moved=True), ["the canary restarted"]),
    ],
)
def test_regressions_of_a_canary(canary: Side, expected: list[str]) -> None:
    reasons = regressions(canary, side())
    assert [reason[: len(start)] for reason, start in zip(reasons, expected, strict=True)] == expected


class MetricsPages(Client):
    """A client whose /metrics shows one page after the other: (start time, answered, failed)."""

    def __init__(self, *pages: tuple[float, int, int]) -> None:
        self.pages = list(pages)

    def text(self, path: str) -> str:
        started, answered, failed = self.pages.pop(0)
        line = 'retail_api_requests_total{route="/predict",status="%d"} %f\n'
        return line % (200, answered) + line % (503, failed) + f"process_start_time_seconds {started}\n"


def test_counts_of_another_process_are_left_out() -> None:
    """The connection to the stable pods moves to an older pod, which has thousands of requests and errors."""
    stable = Side(MetricsPages((1, 100, 0), (1, 150, 1), (2, 9000, 500), (2, 9049, 500)))
    for _ in range(4):
        stable.read_counts()
    assert (stable.answered, stable.errors, stable.moved) == (51 + 49, 1, True)


def test_only_predictions_are_counted(start: Callable[..., Process]) -> None:
    process = start()
    process.until_ready()
    before = parse_counts(Client(url(process), None).text("/metrics"))
    Client(url(process), None).call("POST", "/predict", {})
    after = parse_counts(Client(url(process), None).text("/metrics"))
    assert (after.requests - before.requests, after.errors) == (1, 0)
    assert before.started == after.started > 0
