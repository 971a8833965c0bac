"""Watching a canary beside stable pods: real servers, a killed one, a slow one, a failing one."""

import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.checks import bake
from api.checks.bake import Side, counts, judge
from include.baskets.bundle import Bundle
from tests.api.checks.test_verify import held_out, write
from tests.api.conftest import Process

pytestmark = pytest.mark.integration


class Fake:
    """A server that answers every basket after `delay` seconds with `status`, and counts as the API does."""

    def __init__(self, delay: float = 0.0, status: int = 200) -> None:
        fake, self.answered = self, 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version, wbufsize = "HTTP/1.1", -1

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
    made: list[Fake] = []

    def build(**how: Any) -> str:
        made.append(Fake(**how))
        return made[-1].url

    yield build
    for one in made:
        one.close()


@pytest.fixture
def run(
    loaded: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    monkeypatch.setattr(bake, "PAIRS_PER_SECOND", 100)
    baskets = write(tmp_path / "held_out.jsonl", held_out(loaded))

    def bake_it(canary: str, stable: str, seconds: float = 0.6) -> tuple[int, list[dict[str, Any]]]:
        told = {"BAKE_CANARY": canary, "BAKE_STABLE": stable, "BAKE_SECONDS": str(seconds), "VERIFY_BASKETS": baskets}
        code = bake.main(told)
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return bake_it


def url(process: Process) -> str:
    process.until_ready()
    return f"http://127.0.0.1:{process.port}"


def test_a_canary_that_does_as_well_passes(start: Callable[..., Process], run: Callable[..., Any]) -> None:
    code, said = run(url(start()), url(start()))
    assert (code, said[-1]["result"]) == (0, "passed")
    assert said[-1]["canary"]["requests"] >= bake.FEWEST
    assert said[-1]["canary"]["error_rate"] == 0
    assert len(said) > bake.REPORTS  # it says how it goes


def test_a_canary_that_is_killed_fails(start: Callable[..., Process], run: Callable[..., Any]) -> None:
    canary, stable = start(), url(start())
    address = url(canary)
    threading.Timer(0.5, canary.kill).start()
    code, said = run(address, stable, seconds=12)
    assert code == 1
    assert "of its requests failed" in said[-1]["reason"]
    assert said[-2]["second"] < 9, "it does not wait for the end to say so"


def test_a_slow_canary_fails(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, said = run(fake(delay=0.04), fake(), seconds=2)
    assert code == 1
    assert "its p95 is" in said[-1]["reason"]


def test_a_canary_with_errors_fails(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, said = run(fake(status=500), fake())
    assert code == 1
    assert "100.0% of its requests failed, 0.0% of the stable" in said[-1]["reason"]


def test_errors_of_both_are_not_the_canarys_fault(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    assert run(fake(status=503), fake(status=503))[0] == 0


def test_too_few_requests_say_nothing(fake: Callable[..., str], run: Callable[..., Any]) -> None:
    code, said = run(fake(), fake(), seconds=0.1)
    assert (code, said[-1]["result"]) == (2, "cannot tell")
    assert "say nothing" in said[-1]["reason"]


def test_a_setting_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bake.main({"BAKE_CANARY": "http://127.0.0.1:1"}) == 2
    assert "BAKE_STABLE and BAKE_SECONDS and VERIFY_BASKETS must be set" in capsys.readouterr().out


def side(errors: int = 0, moved: bool = False, milliseconds: float = 2.0) -> Side:
    client = bake.Client("http://127.0.0.1:1", None)
    return Side(client, answered=100, errors=errors, moved=moved, milliseconds=[milliseconds] * 50)


@pytest.mark.parametrize(
    ("canary", "worse"),
    [
        (side(), []),
        (side(errors=1), []),
        (side(errors=2), ["2.0% of its requests failed"]),
        (side(milliseconds=26.0), []),
        (side(milliseconds=28.0), ["its p95 is 28.0 ms"]),
        (side(moved=True), ["the canary restarted"]),
    ],
)
def test_what_is_worse(canary: Side, worse: list[str]) -> None:
    assert [text[: len(start)] for text, start in zip(judge(canary, side()), worse, strict=True)] == worse


class Pages(bake.Client):
    """Answers /metrics with one page after the other."""

    def __init__(self, *pages: tuple[float, int, int]) -> None:
        self.pages = list(pages)

    def text(self, path: str) -> str:
        started, fine, failed = self.pages.pop(0)
        line = 'retail_api_requests_total{route="/predict",status="%d"} %f\n'
        return line % (200, fine) + line % (503, failed) + f"process_start_time_seconds {started}\n"


def test_counts_of_another_process_are_not_subtracted() -> None:
    """A stable side whose connection moves to an older pod, with thousands of requests and errors of its own."""
    stable = Side(Pages((1, 100, 0), (1, 150, 1), (2, 9000, 500), (2, 9049, 500)))
    for _ in range(4):
        stable.look()
    assert (stable.answered, stable.errors, stable.moved) == (51 + 49, 1, True)


def test_counts_are_those_of_predictions_only(start: Callable[..., Process]) -> None:
    process = start()
    process.until_ready()
    before = counts(bake.Client(url(process), None).text("/metrics"))
    bake.Client(url(process), None).call("POST", "/predict", {})
    after = counts(bake.Client(url(process), None).text("/metrics"))
    assert (after.requests - before.requests, after.errors) == (1, 0)
    assert before.started == after.started > 0
