"""Collect one minute of requests for one log line in CloudWatch's embedded metric format."""

import random
import time
from collections.abc import Callable
from typing import Any

NAMESPACE = "RetailMLOps"
WINDOW_SECONDS = 60.0
PROBE_ROUTES = frozenset({"/health", "/ready", "/metrics"})
"""Called every few seconds: counted, but not logged. A 503 of /ready during a drain is no error for a user."""
MAX_VALUES = 100
"""The format's limit of values for one metric in one line: latencies beyond it are sampled uniformly."""


class MetricWindow:
    """The requests of the current minute."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._random = random.Random(0)
        self._reset()

    def _reset(self) -> None:
        self._since = self._clock()
        self._requests = 0
        self._errors = 0
        self._answers = 0
        self._milliseconds: list[float] = []

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request. Probes count as requests only, which shows that an API without users is alive."""
        self._requests += 1
        if route in PROBE_ROUTES:
            return
        if status >= 500:
            self._errors += 1
            return
        self._answers += 1
        if len(self._milliseconds) < MAX_VALUES:
            self._milliseconds.append(round(seconds * 1000, 3))
        elif (slot := int(self._random.random() * self._answers)) < MAX_VALUES:  # reservoir sampling
            self._milliseconds[slot] = round(seconds * 1000, 3)

    def take(self, force: bool = False, **properties: str) -> dict[str, Any] | None:
        """Return the document of the window and start the next one. None while the minute lasts or without requests.

        force: take the window before its minute is over.
        """
        now = self._clock()
        if not self._requests:
            self._since = now
            return None
        if now - self._since < WINDOW_SECONDS and not force:
            return None
        document = self._document(now)
        self._reset()
        return document | properties

    def _document(self, now: float) -> dict[str, Any]:
        metrics = [{"Name": "Requests", "Unit": "Count"}, {"Name": "Errors", "Unit": "Count"}]
        document: dict[str, Any] = {"Requests": self._requests, "Errors": self._errors}
        if self._milliseconds:
            metrics.append({"Name": "Latency", "Unit": "Milliseconds"})
            document["Latency"] = self._milliseconds
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": metrics}
        document["_aws"] = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}
        document["Service"] = "retail-api"
        return document
