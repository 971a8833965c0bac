"""Metrics: one document a minute in CloudWatch's embedded metric format, and Prometheus text."""

from prometheus_client.parser import text_string_to_metric_families

from api.telemetry.cloudwatch import PROBE_ROUTES, MetricWindow
from api.telemetry.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_window_is_returned_once_after_its_minute() -> None:
    clock = Clock()
    window = MetricWindow(clock)
    window.observe("/predict", 200, 0.002)
    window.observe("/predict", 503, 0.001)

    assert window.take() is None
    clock.now += 61
    document = window.take(Release="r-1")
    assert document is not None
    assert (document["Requests"], document["Errors"], document["Latency"]) == (2, 1, [2.0])
    assert document["Release"] == "r-1"
    assert window.take(force=True) is None


def test_document_follows_the_embedded_metric_format() -> None:
    clock = Clock()
    window = MetricWindow(clock)
    for number in range(1000):
        window.observe("/predict", 200, number / 1000)

    document = window.take(force=True)
    assert document is not None
    directive = document["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "RetailMLOps"
    assert [metric["Name"] for metric in directive["Metrics"]] == ["Requests", "Errors", "Latency"]
    assert directive["Dimensions"] == [["Service"]]
    assert {"Requests", "Errors", "Latency", "Service"} <= document.keys()
    assert len(document["Latency"]) == 100, "the format's limit"
    assert document["_aws"]["Timestamp"] == 1_000_000


def test_probes_count_neither_as_errors_nor_as_latency() -> None:
    window = MetricWindow(Clock())
    for route in PROBE_ROUTES:
        window.observe(route, 503, 1)
        window.observe(route, 200, 1)
    document = window.take(force=True)
    assert document is not None
    assert (document["Requests"], document["Errors"]) == (2 * len(PROBE_ROUTES), 0)
    assert "Latency" not in document


def test_window_without_answers_has_no_latency() -> None:
    window = MetricWindow(Clock())
    window.observe("/predict", 500, 1)

    document = window.take(force=True)
    assert document is not None
    assert "Latency" not in document


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.0004), (200, 0.0005), (422, 0.003), (503, 9.0)):
        metrics.request("/predict", status, seconds)
    metrics.request("other", 404, 0.02)

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }
    answered = {key[1:]: value for key, value in samples.items() if key[0] == "retail_api_requests_total"}
    assert answered == {("/predict", "200"): 2, ("/predict", "422"): 1, ("/predict", "503"): 1, ("other", "404"): 1}
    within = {
        le: samples["retail_api_request_seconds_bucket", le, "/predict"]
        for le in ("0.0005", "0.0025", "0.005", "2.5", "+Inf")
    }
    assert list(within.values()) == [2, 2, 3, 3, 4]
    assert samples["retail_api_request_seconds_count", "/predict"] == 4
    assert samples["retail_api_request_seconds_sum", "other"] == 0.02
