"""The kubelet's growing delays between attempts."""

FIRST_SECONDS = 10.0
LONGEST_SECONDS = 300.0
RESET_AFTER_SECONDS = 600.0


class Backoff:
    """Seconds to wait before the next attempt: 10, 20, 40, ... 300. at_once: the first attempt is not delayed."""

    def __init__(self, at_once: bool = False) -> None:
        self.first = 0.0 if at_once else FIRST_SECONDS
        self.delay = self.first

    def next(self, ran: float = 0) -> float:
        """Return the delay after an attempt that lasted `ran` seconds; a long one resets the delays."""
        if ran > RESET_AFTER_SECONDS:
            self.delay = self.first
        delay = self.delay
        self.delay = min(self.delay * 2 or FIRST_SECONDS, LONGEST_SECONDS)
        return delay
