"""Wait for something that nobody announces."""

import math
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], waiting_for: str, timeout: float = math.inf, poll: float = 0.1) -> None:
    """Return as soon as the condition is true. Raise TimeoutError, which names what was waited for, after `timeout`."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:.0f} s for {waiting_for}")
        time.sleep(poll)
