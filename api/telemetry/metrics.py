"""Count requests and predictions; /metrics shows the counts as Prometheus text."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from api.telemetry.cloudwatch import MetricWindow

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, in seconds."""


class RequestCollector(Collector):
    """Count requests in plain numbers, and build Prometheus metrics from them when /metrics is called.

    prometheus_client's own Counter and Histogram cost several times as much for each request.
    """

    def __init__(self) -> None:
        self._answered: dict[tuple[str, int], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request of `route` that took so many seconds."""
        self._answered[route, status] += 1
        self._buckets[route][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the counter of requests and the histogram of their seconds."""
        answered = CounterMetricFamily("retail_api_requests", "Requests answered", labels=["route", "status"])
        for (route, status), count in sorted(self._answered.items()):
            answered.add_metric([route, str(status)], count)
        yield answered
        seconds = HistogramMetricFamily(
            "retail_api_request_seconds", "Seconds from request to answer", labels=["route"]
        )
        bounds = [*map(str, BUCKETS), "+Inf"]
        for route, counts in sorted(self._buckets.items()):
            seconds.add_metric([route], list(zip(bounds, accumulate(counts), strict=True)), self._seconds[route])
        yield seconds


class Metrics:
    """All metrics of the process. Labels are bounded: a route is one of the app's, never the path of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.window = MetricWindow()
        ProcessCollector(registry=self.registry)
        self._requests = RequestCollector()
        self.registry.register(self._requests)
        self._predictions = self._counter("retail_api_predictions_total", "Baskets scored", "prediction")
        self._predictions_by_label: dict[str, Counter] = {}
        self.slow_clients = self._counter(
            "retail_api_slow_clients_total", "Connections closed because the client was too slow"
        )
        self._model = self._gauge("retail_api_model_info", "The served model", "release", "version", "digest")
        self.ready = self._gauge("retail_api_ready", "1 while the bundle is loaded and the process is not draining")
        self.approved = self._gauge("retail_api_model_approved", "1 while the served model package is Approved")

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, labels, registry=self.registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered with `status` after so many seconds."""
        self._requests.observe(route, status, seconds)
        self.window.observe(route, status, seconds)

    def prediction(self, label: str, count: int = 1) -> None:
        """Count baskets that were scored as `label`."""
        counter = self._predictions_by_label.get(label)
        if counter is None:
            counter = self._predictions_by_label[label] = self._predictions.labels(label)
        counter.inc(count)

    def model(self, release: str, version: str, digest: str) -> None:
        """Show which model is served."""
        self._model.labels(release, version, digest).set(1)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
