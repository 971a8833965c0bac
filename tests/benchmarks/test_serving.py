"""The serving benchmark's own logic: what counts as a regression, and that it measures real processes."""

import pytest

from benchmarks.serving.__main__ import regressions
from benchmarks.serving.servers import Running, Server, bare

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
