"""Log events in the embedded metric format become CloudWatch metrics, as on AWS.

The format: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
An event that claims the format and is wrong stays a plain log event; CloudWatch too says nothing to the writer.
"""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ministack.core.concurrency import spawn_background
from ministack.services import cloudwatch_logs

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws import root

log = logging.getLogger(__name__)

BATCH = 1000  # PutMetricData takes no more
Data = dict[str, Any]


def data(event: str) -> Iterator[tuple[str, Data]]:
    """(namespace, datum for PutMetricData) of one event; nothing for any other event.

    A line of a container comes as Fluent Bit sends it: the text of the line is the member `log`.
    """
    if "_aws" not in event:
        return
    try:
        body = json.loads(event)
        if "_aws" not in body:
            body = json.loads(body["log"])
        about = body["_aws"]
        at = datetime.fromtimestamp(about["Timestamp"] / 1000, UTC)
        for directive in about["CloudWatchMetrics"]:
            for metric in directive["Metrics"]:
                values = body[metric["Name"]]
                for dimensions in directive.get("Dimensions") or [[]]:
                    yield (
                        directive["Namespace"],
                        {
                            "MetricName": metric["Name"],
                            "Dimensions": [{"Name": name, "Value": str(body[name])} for name in dimensions],
                            "Timestamp": at,
                            "Values": [float(value) for value in (values if isinstance(values, list) else [values])],
                            "Unit": metric.get("Unit", "None"),
                        },
                    )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        log.info("not a metric: %r in %.200s", error, event)


def publish(messages: list[str]) -> None:
    """PutMetricData of what these events hold."""
    found: dict[str, list[Data]] = {}
    for message in messages:
        for namespace, datum in data(message):
            found.setdefault(namespace, []).append(datum)
    for namespace, all_of_it in found.items():
        for start in range(0, len(all_of_it), BATCH):
            root.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=all_of_it[start : start + BATCH])


_put_log_events = cloudwatch_logs._put_log_events


def _put(request: dict[str, Any]) -> tuple:
    response = _put_log_events(request)
    messages = [m for event in request.get("logEvents", []) if "_aws" in (m := event.get("message", ""))]
    if response[0] == 200 and messages:
        spawn_background(publish, messages, thread_name="emf")  # this is the event loop
    return response


cloudwatch_logs._put_log_events = _put
