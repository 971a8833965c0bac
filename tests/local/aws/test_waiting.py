"""Waiting ends with the condition, or names what did not happen."""

import pytest

from local.aws.waiting import wait_until


def test_it_asks_until_the_condition_is_true() -> None:
    answers = iter([False, False, True])
    wait_until(lambda: next(answers), "an answer", poll=0)
    assert list(answers) == []


def test_a_timeout_names_what_was_waited_for() -> None:
    with pytest.raises(TimeoutError, match="waited 0 s for the control plane of x"):
        wait_until(lambda: False, "the control plane of x", timeout=0, poll=0)
