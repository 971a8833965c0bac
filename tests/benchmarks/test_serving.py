"""The serving benchmark: what counts as a regression, and the measurement of real processes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.serving.model import LONG_BASKETS, with_long_baskets
from benchmarks.serving.rounds import Rounds, ratio, regressions
from benchmarks.serving.servers import Running, Server, bare
from include.baskets.schema import Basket, merge_lines

BASELINE = {"cpu_of_bare": 0.3, "cpu_over_naive": 60.0, "memory_of_bare": 6.0}


@pytest.mark.parametrize(
    ("change", "count"),
    [
        ({}, 0),
        ({"cpu_of_bare": 0.29, "cpu_over_naive": 58.0, "memory_of_bare": 6.2}, 0),
        ({"cpu_of_bare": 0.2}, 1),
        ({"cpu_over_naive": 40.0}, 1),
        ({"memory_of_bare": 9.0}, 1),
    ],
)
def test_only_clearly_worse_figures_are_regressions(change: dict[str, float], count: int) -> None:
    assert len(regressions(BASELINE | change, BASELINE)) == count


def test_ratio_compares_rounds_and_median_cpu_time() -> None:
    fast = Rounds(rates=[90.0, 30.0, 60.0], cpu_ms=[1.0, 2.0, 9.0])
    slow = Rounds(rates=[30.0, 20.0, 30.0], cpu_ms=[5.0, 8.0, 6.0])
    compared = ratio(fast, slow)
    assert (compared.rate, compared.cpu) == (2.0, 3.0)


def test_server_is_measured_from_its_first_answer(tmp_path: Path) -> None:
    running = Running(bare(), b"{}", tmp_path / "log")
    try:
        assert running.ready_seconds > 0
        assert running.memory_mb() > 10
        assert running.cpu_seconds() > 0
    finally:
        running.stop()


def test_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="No module named 'no_such_module'"):
        Running(Server("broken", "api", ["-c", "import no_such_module"], {}), b"{}", tmp_path / "log")


def test_long_baskets_are_inserted_and_valid() -> None:
    def basket(number: int) -> dict[str, Any]:
        lines = [{"PROD_CODE": f"PRD{number:03}{line}", "QUANTITY": 1, "SPEND": 1.5} for line in range(3)]
        return {"SHOP_WEEKDAY": 1, "SHOP_HOUR": 9, "STORE_FORMAT": "LS", "STORE_REGION": "E01", "lines": lines}

    short = [basket(number) for number in range(200)]
    mixed = with_long_baskets(short)
    assert [document for document in mixed if len(document["lines"]) == 3] == short
    assert [len(document["lines"]) for document in mixed if len(document["lines"]) > 45] == list(LONG_BASKETS)
    for document in mixed:
        lines = msgspec.convert(document, Basket).lines
        assert merge_lines(lines) is lines
