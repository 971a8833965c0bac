"""The kubelet's growing delays between tries."""

FIRST, LONGEST, FORGIVEN_AFTER = 10.0, 300.0, 600.0


class Backoff:
    """Seconds to wait before the next try: 10, 20, 40, ... 300; a restart is tried once at once before those."""

    def __init__(self, at_once: bool = False) -> None:
        self.first = 0.0 if at_once else FIRST
        self.delay = self.first

    def next(self, ran: float = 0) -> float:
        """The delay after a try that lasted `ran` seconds; a long one is forgiven all failures before it."""
        if ran > FORGIVEN_AFTER:
            self.delay = self.first
        now, self.delay = self.delay, min(self.delay * 2 or FIRST, LONGEST)
        return now
