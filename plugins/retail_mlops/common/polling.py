"""The one polling loop: observe, log each change of what is still awaited, and give up after a timeout."""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Observation = TypeVar("Observation")

_log = logging.getLogger(__name__)


class Log(Protocol):
    """A logger of Python, or of Airflow's operators and hooks."""

    def info(self, event: str, /, *args: Any) -> Any: ...


def wait_until(
    observe: Callable[[], Observation],
    pending: Callable[[Observation], str],
    *,
    timeout: float,
    poll: float,
    timeout_error: Callable[[Observation], Exception],
    log: Log = _log,
) -> Observation:
    """Observe every `poll` seconds until nothing is pending; return the last observation.

    pending: what an observation still lacks, in words; "" when nothing is awaited any more. It may raise an error to
    give up before the timeout.
    timeout: seconds; timeout_error: makes the error to raise then, from the last observation.
    """
    start = time.monotonic()
    logged = ""
    while awaited := pending(observation := observe()):
        elapsed = time.monotonic() - start
        if elapsed > timeout:
            raise timeout_error(observation)
        if awaited != logged:
            log.info("Waiting: %s (elapsed %.0f s)", awaited, elapsed)
            logged = awaited
        time.sleep(poll)
    return observation


def lines(items: list[str]) -> str:
    """Several pending things as one text, a line each; "" for none."""
    return "\n".join(items)
