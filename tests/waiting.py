"""Waits in tests: for what another process, thread or cluster is about to do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 10, what: str = "it", longest: float = 0.5) -> T:
    """What the condition gives as soon as that is true; AssertionError after `seconds`. It is asked often at first,
    then every `longest` seconds."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(min(pause, longest))
        pause *= 1.5
    return found
