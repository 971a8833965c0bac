"""The serving benchmark's own logic: what counts as a regression, and that it measures real processes."""

from typing import Any

import msgspec
import pytest

from benchmarks.serving.__main__ import regressions
from benchmarks.serving.model import LONG, with_long_ones
from benchmarks.serving.servers import Running, Server, bare
from include.baskets.schema import Basket, merge_lines

BASELINE = {"cpu_of_bare": 0.3, "cpu_over_naive": 60.0, "memory_of_bare": 6.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, 0),
        ({"cpu_of_bare": 0.29, "cpu_over_naive": 58.0, "memory_of_bare": 6.2}, 0),
        ({"cpu_of_bare": 0.2}, 1),
        ({"cpu_over_naive": 40.0}, 1),
        ({"memory_of_bare": 9.0}, 1),
    ],
)
def test_what_is_clearly_worse_is_a_regression(change: dict[str, float], told: int) -> None:
    assert len(regressions(BASELINE | change, BASELINE)) == told


def test_a_server_is_measured_from_its_first_answer(tmp_path) -> None:
    running = Running(bare(), b"{}", tmp_path / "log")
    try:
        assert running.ready_seconds > 0
        assert running.memory_mb() > 10
        assert running.cpu_seconds() > 0
    finally:
        running.stop()


def test_a_server_that_does_not_start_is_told_with_its_log(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="No module named 'nothing_there'"):
        Running(Server("broken", "api", ["-c", "import nothing_there"], {}), b"{}", tmp_path / "log")


def test_long_baskets_are_among_the_bodies_and_each_is_one_that_the_api_takes() -> None:
    def basket(number: int) -> dict[str, Any]:
        lines = [{"PROD_CODE": f"PRD{number:03}{line}", "QUANTITY": 1, "SPEND": 1.5} for line in range(3)]
        return {"SHOP_WEEKDAY": 1, "SHOP_HOUR": 9, "STORE_FORMAT": "LS", "STORE_REGION": "E01", "lines": lines}

    short = [basket(number) for number in range(200)]
    mixed = with_long_ones(short)
    assert [one for one in mixed if len(one["lines"]) == 3] == short
    assert [len(one["lines"]) for one in mixed if len(one["lines"]) > 45] == list(LONG)
    for one in mixed:
        taken = msgspec.convert(one, Basket)
        assert merge_lines(taken.lines) is taken.lines
