"""Waiting for a condition: its value, its deadline, its own errors."""

import pytest

from local.stack.waiting import wait_until


class LateError(Exception):
    pass


def test_the_first_true_value_is_returned() -> None:
    answers = iter([None, "", 0, "ready", "not asked for"])
    assert wait_until(lambda: next(answers), 10, every=0) == "ready"
    assert next(answers) == "not asked for"


def test_a_condition_that_holds_is_not_waited_for() -> None:
    assert wait_until(lambda: 7, 0, every=60) == 7


def test_a_condition_that_never_holds_is_an_error() -> None:
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        wait_until(lambda: False, 0.05, every=0.01)


def test_the_caller_words_the_error() -> None:
    with pytest.raises(LateError, match="3 of 5"):
        wait_until(lambda: False, 0, error=lambda: LateError("3 of 5"))


def test_an_error_of_the_condition_ends_the_wait() -> None:
    with pytest.raises(LateError, match="broken"):
        wait_until(lambda: (_ for _ in ()).throw(LateError("broken")).send(None), 60, every=60)
