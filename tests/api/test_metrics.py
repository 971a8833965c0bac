"""The minute's metrics in CloudWatch's embedded metric format."""

from api.metrics import QUIET, Window


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_window_is_told_once_when_its_minute_is_over() -> None:
    clock = Clock()
    window = Window(clock)
    window.observe("/predict", 200, 0.002)
    window.observe("/predict", 503, 0.001)

    assert window.take() is None
    clock.now += 61
    document = window.take(Release="r-1")
    assert document is not None
    assert (document["Requests"], document["Errors"], document["Latency"]) == (2, 1, [2.0])
    assert document["Release"] == "r-1"
    assert window.take(force=True) is None


def test_it_follows_the_format() -> None:
    clock = Clock()
    window = Window(clock)
    for number in range(1000):
        window.observe("/predict", 200, number / 1000)

    document = window.take(force=True)
    assert document is not None
    directive = document["_aws"]["CloudWatchMetrics"][0]
    assert directive["Namespace"] == "RetailMLOps"
    assert all(metric["Name"] in document for metric in directive["Metrics"])
    assert all(name in document for names in directive["Dimensions"] for name in names)
    assert len(document["Latency"]) == 100, "the format's limit"
    assert document["_aws"]["Timestamp"] == 1_000_000


def test_probes_are_requests_and_never_errors_or_latency() -> None:
    window = Window(Clock())
    for route in QUIET:
        window.observe(route, 503, 1)
        window.observe(route, 200, 1)
    document = window.take(force=True)
    assert document is not None
    assert (document["Requests"], document["Errors"]) == (2 * len(QUIET), 0)
    assert "Latency" not in document


def test_a_window_without_answers_has_no_latency() -> None:
    window = Window(Clock())
    window.observe("/predict", 500, 1)

    document = window.take(force=True)
    assert document is not None
    assert "Latency" not in document
