"""Log lines: JSON, buffered, one for each request; events are written at once."""

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from api.telemetry.logs import ForwardingHandler, Log
from tests.api.conftest import Served
from tests.api.tiny import basket


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_is_buffered_and_event_is_written_at_once() -> None:
    stream = io.BytesIO()
    log = Log(stream, release="r-1")

    log.line("request", status=200)
    assert not stream.getvalue()
    log.event("ready")
    assert [line["event"] for line in lines(stream)] == ["request", "ready"]
    assert lines(stream)[0]["release"] == "r-1"


def test_full_buffer_is_written() -> None:
    stream = io.BytesIO()
    log = Log(stream)

    for _ in range(1000):
        log.line("request", text="x" * 100)
    assert len(lines(stream)) > 500


def test_level_filters_lines_and_events() -> None:
    stream = io.BytesIO()
    log = Log(stream, "WARNING")

    log.line("request")
    log.event("ready")
    log.event("waiting", "WARNING")
    assert [line["event"] for line in lines(stream)] == ["waiting"]


def test_library_logs_become_json() -> None:
    stream = io.BytesIO()
    record = logging.LogRecord("uvicorn.error", logging.ERROR, __file__, 1, "port %d is in use", (80,), None)

    ForwardingHandler(Log(stream)).emit(record)
    assert lines(stream)[0]["message"] == "port 80 is in use"


def test_request_lines_hold_no_customer_data(serve: Callable[..., Served]) -> None:
    served = serve(PREDICTION_LOG_SAMPLE="0")
    served.client.post("/predict", json=basket(1) | {"CUST_CODE": "CUST0000000001"})
    served.client.post("/predict", json=basket(1))
    served.client.get("/health")

    assert [(line["route"], line["status"]) for line in served.lines] == [("/predict", 422), ("/predict", 200)]
    assert "CUST0" not in json.dumps(served.lines)


@pytest.mark.parametrize(("sample", "expected"), [("0", 0), ("1", 20)])
def test_predictions_are_sampled(serve: Callable[..., Served], sample: str, expected: int) -> None:
    served = serve(PREDICTION_LOG_SAMPLE=sample)
    served.client.post("/predict/batch", json={"baskets": [basket(seed) for seed in range(20)]})

    assert sum(line["event"] == "prediction" for line in served.lines) == expected
