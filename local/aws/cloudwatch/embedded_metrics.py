"""Log events in the embedded metric format become CloudWatch metrics, as on AWS.

The format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
An event that claims the format and is wrong stays a plain log event. CloudWatch does not report it either.
"""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ministack.core.concurrency import spawn_background
from ministack.services import cloudwatch_logs

from local.aws import root
from local.aws.patch import Response, wrap

log = logging.getLogger(__name__)

BATCH: Final = 1000
"""The most data that PutMetricData takes."""
Datum = dict[str, Any]


def data(event: str) -> Iterator[tuple[str, Datum]]:
    """Yield (namespace, datum for PutMetricData) of one event; nothing for any other event.

    A line of a container comes as Fluent Bit sends it: the text of the line is the member `log`.
    """
    if "_aws" not in event:
        return
    try:
        body = json.loads(event)
        if "_aws" not in body:
            body = json.loads(body["log"])
        metadata = body["_aws"]
        timestamp = datetime.fromtimestamp(metadata["Timestamp"] / 1000, UTC)
        for directive in metadata["CloudWatchMetrics"]:
            yield from _data_of_directive(directive, body, timestamp)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        log.info("a log event claims to hold metrics and does not (%r): %.200s", error, event)


def _data_of_directive(
    directive: dict[str, Any], body: dict[str, Any], timestamp: datetime
) -> Iterator[tuple[str, Datum]]:
    for metric in directive["Metrics"]:
        values = body[metric["Name"]]
        for dimensions in directive.get("Dimensions") or [[]]:
            datum = {
                "MetricName": metric["Name"],
                "Dimensions": [{"Name": name, "Value": str(body[name])} for name in dimensions],
                "Timestamp": timestamp,
                "Values": [float(value) for value in (values if isinstance(values, list) else [values])],
                "Unit": metric.get("Unit", "None"),
            }
            yield directive["Namespace"], datum


def publish(messages: list[str]) -> None:
    """Put the metrics that these events hold into CloudWatch."""
    by_namespace: dict[str, list[Datum]] = {}
    for message in messages:
        for namespace, datum in data(message):
            by_namespace.setdefault(namespace, []).append(datum)
    for namespace, metrics in by_namespace.items():
        for start in range(0, len(metrics), BATCH):
            root.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=metrics[start : start + BATCH])


def _put_log_events(put: Callable[[dict[str, Any]], Response], request: dict[str, Any]) -> Response:
    response = put(request)
    messages = [event.get("message", "") for event in request.get("logEvents", [])]
    with_metrics = [message for message in messages if "_aws" in message]
    if response[0] == 200 and with_metrics:
        spawn_background(publish, with_metrics, thread_name="emf")  # not here: this is the event loop
    return response


PATCHES: Final = (wrap(cloudwatch_logs, "_put_log_events", _put_log_events, "the embedded metric format is not read"),)
