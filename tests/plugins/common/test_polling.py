"""The polling loop: it ends with the last observation, logs each change once, and gives up after its timeout."""

import pytest

from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import lines, wait_until


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves; the naps, in seconds."""
    naps = []
    monkeypatch.setattr("retail_mlops.common.polling.time.monotonic", lambda: sum(naps))
    monkeypatch.setattr("retail_mlops.common.polling.time.sleep", naps.append)
    return naps


def wait(observations, timeout=60):
    remaining = iter(observations)
    return wait_until(
        lambda: next(remaining),
        lines,
        timeout=timeout,
        poll=10,
        timeout_error=lambda left: RetailError(f"still there: {lines(left)}"),
    )


def test_nothing_pending_ends_at_once(clock):
    assert wait([[]]) == []
    assert clock == []


def test_each_change_is_logged_once_with_the_time_it_took(clock, caplog):
    wait([["a", "b"], ["a", "b"], ["b"], []])
    assert caplog.messages == ["Waiting: a\nb (elapsed 0 s)", "Waiting: b (elapsed 20 s)"]


def test_last_observation_is_in_the_error_after_the_timeout(clock):
    with pytest.raises(RetailError, match="still there: b"):
        wait([["a"], ["a"], ["b"], []], timeout=15)
    assert clock == [10, 10]


def test_pending_may_give_up_before_the_timeout(clock):
    def give_up(_observation):
        raise RetailError("it failed")

    with pytest.raises(RetailError, match="it failed"):
        wait_until(list, give_up, timeout=60, poll=10, timeout_error=lambda _: RetailError("too late"))
    assert clock == []
