"""Limit the requests in flight: when there are too many, an early refusal helps more than a late answer."""

from api.errors import HttpError

BUSY = HttpError(503, "too many concurrent requests: try again in a second", ((b"retry-after", b"1"),))


class ConcurrencyLimiter:
    """A semaphore that never waits. It belongs to one event loop, so it needs no lock."""

    def __init__(self, limit: int) -> None:
        self._free = limit

    def acquire(self) -> None:
        """Take a slot. Raise HttpError 503 when none is free."""
        if not self._free:
            raise BUSY
        self._free -= 1

    def release(self, count: int = 1) -> None:
        """Give slots back."""
        self._free += count
