"""Counts of requests: Prometheus text for /metrics, and CloudWatch's embedded metric format once a minute."""

import random
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

NAMESPACE = "RetailMLOps"
WINDOW_SECONDS = 60.0
QUIET = frozenset({"/health", "/ready", "/metrics"})
"""Asked every few seconds: counted, not logged. What /ready says of a pod that leaves is no error of a user's."""
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_VALUES = 100  # the format allows 100 values of a metric in one line: a uniform sample of the window


class Window:
    """The requests of the current minute, for one line in embedded metric format."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._random = clock, random.Random(0)
        self._reset()

    def _reset(self) -> None:
        self._since, self._requests, self._errors, self._seen = self._clock(), 0, 0, 0
        self._milliseconds: list[float] = []

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Probes are requests, which is how an API without users is known to live; errors and latency are users'."""
        self._requests += 1
        if route in QUIET:
            return
        if status >= 500:
            self._errors += 1
            return
        self._seen += 1
        if len(self._milliseconds) < _VALUES:
            self._milliseconds.append(round(seconds * 1000, 3))
        elif (slot := int(self._random.random() * self._seen)) < _VALUES:
            self._milliseconds[slot] = round(seconds * 1000, 3)

    def take(self, force: bool = False, **properties: str) -> dict[str, Any] | None:
        """The document of a window that is over (or any that has requests, with force); None otherwise."""
        now = self._clock()
        if not self._requests:
            self._since = now
            return None
        if now - self._since < WINDOW_SECONDS and not force:
            return None
        metrics = [{"Name": "Requests", "Unit": "Count"}, {"Name": "Errors", "Unit": "Count"}]
        document: dict[str, Any] = {"Requests": self._requests, "Errors": self._errors}
        if self._milliseconds:
            metrics.append({"Name": "Latency", "Unit": "Milliseconds"})
            document["Latency"] = self._milliseconds
        directive = {"Namespace": NAMESPACE, "Dimensions": [["Service"]], "Metrics": metrics}
        document |= {"_aws": {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}, "Service": "retail-api"}
        self._reset()
        return document | properties


class Requests(Collector):
    """Requests and their seconds by route: counted in plain numbers, worded when somebody asks for them."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_BUCKETS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, seconds: float) -> None:
        self._answered[route, status] += 1
        self._buckets[route][bisect_left(_BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def collect(self) -> Iterator[Metric]:
        answered = CounterMetricFamily("retail_api_requests", "Requests answered", labels=["route", "status"])
        for (route, status), count in sorted(self._answered.items()):
            answered.add_metric([route, str(status)], count)
        yield answered
        seconds = HistogramMetricFamily(
            "retail_api_request_seconds", "Seconds from request to answer", labels=["route"]
        )
        bounds = [*map(str, _BUCKETS), "+Inf"]
        for route, counts in sorted(self._buckets.items()):
            seconds.add_metric([route], list(zip(bounds, accumulate(counts), strict=True)), self._seconds[route])
        yield seconds


class Metrics:
    """What /metrics shows. Labels are bounded: routes are those of the app, never the path of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Requests()
        self.registry.register(self._requests)
        self._predictions = Counter(
            "retail_api_predictions_total", "Baskets scored", ["prediction"], registry=self.registry
        )
        self.slow_clients = Counter(
            "retail_api_slow_clients_total", "Connections cut off in the middle of a request", registry=self.registry
        )
        self._info = Gauge(
            "retail_api_model_info",
            "The model that is served",
            ["release", "version", "digest"],
            registry=self.registry,
        )
        self.ready = Gauge(
            "retail_api_ready", "1 while the bundle is loaded and the process is not leaving", registry=self.registry
        )
        self.approved = Gauge(
            "retail_api_model_approved", "1 while the package that is served is Approved", registry=self.registry
        )
        self.window = Window()
        self._labels: dict[str, Any] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.observe(route, status, seconds)
        self.window.observe(route, status, seconds)

    def prediction(self, label: str, count: int = 1) -> None:
        counter = self._labels.get(label)
        if counter is None:
            counter = self._labels[label] = self._predictions.labels(label)
        counter.inc(count)

    def model(self, release: str, version: str, digest: str) -> None:
        self._info.labels(release, version, digest).set(1)

    def text(self) -> bytes:
        return generate_latest(self.registry)
