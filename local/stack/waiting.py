"""Wait for what another process is about to do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None],
    timeout: float,
    *,
    every: float = 0.2,
    error: Callable[[], Exception] | None = None,
) -> T:
    """Return the first true value of `condition`, which is asked at once and then every `every` seconds.

    After `timeout` seconds raise what `error` makes, or else TimeoutError. What `condition` raises ends the wait.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise error() if error else TimeoutError(f"nothing happened within {timeout:g} s")
        time.sleep(every)
    return value
