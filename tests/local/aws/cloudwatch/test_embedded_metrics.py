"""Which log events are metrics, and what they say."""

import json
from typing import Any

import pytest

from local.aws.cloudwatch import embedded_metrics as emf


def event(**change: Any) -> dict[str, Any]:
    return {
        "_aws": {
            "Timestamp": 1764000000000,
            "CloudWatchMetrics": [
                {
                    "Namespace": "RetailMLOps",
                    "Dimensions": [["Environment"]],
                    "Metrics": [{"Name": "Latency", "Unit": "Milliseconds"}],
                }
            ],
        },
        "Environment": "dev",
        "Latency": 3.5,
    } | change


def test_an_event_in_the_format_is_a_datum() -> None:
    [(namespace, datum)] = emf.data(json.dumps(event()))
    assert namespace == "RetailMLOps"
    assert datum["Dimensions"] == [{"Name": "Environment", "Value": "dev"}]
    assert (datum["MetricName"], datum["Values"], datum["Unit"]) == ("Latency", [3.5], "Milliseconds")
    assert datum["Timestamp"].timestamp() == 1764000000


def test_a_list_of_values_is_one_datum() -> None:
    [(_, datum)] = emf.data(json.dumps(event(Latency=[1, 2])))
    assert datum["Values"] == [1.0, 2.0]


def test_a_container_line_is_read_inside_its_record() -> None:
    record = {"log": json.dumps(event()), "kubernetes": {"pod_name": "retail-api"}}
    assert len(list(emf.data(json.dumps(record)))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "plain text",
        '{"level": "info"}',
        "not JSON with _aws",
        '{"_aws": 1}',
        json.dumps(event(Latency="fast")),
        json.dumps({"log": "_aws is mentioned"}),
        '["_aws"]',
    ],
)
def test_anything_else_stays_a_log_event(text: str) -> None:
    assert list(emf.data(text)) == []


def test_a_metric_without_its_value_is_none() -> None:
    text = event()
    del text["Latency"]
    assert list(emf.data(json.dumps(text))) == []
