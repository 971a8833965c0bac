"""Publishes hours off and money saved: daily files in the lake, and metrics in CloudWatch."""

from __future__ import annotations

import logging

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from include import hours, lake
from include.settings import METRIC_NAMESPACE, settings
from retail_mlops.common.dag_defaults import AIRFLOW
from retail_mlops.common.scale_record import Record
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.schedule import savings
from retail_mlops.schedule.savings import TimeOff

log = logging.getLogger(__name__)


def publish(off: TimeOff) -> None:
    """Write a file a local day below logs/cost/, and the metrics; actual hours only once."""
    hook = LakeHook()
    first_day = off.start.astimezone(hours.ZONE).date()
    if savings.is_published(hook.document(lake.cost(first_day)), off):
        log.info("These hours are published already")
        return
    for day in off.days:
        key = lake.cost(day)
        hook.put_document(key, savings.daily_costs(hook.document(key), off, day))
    saved = off.hours * off.usd_per_hour
    _put_metrics(off.basis, {"HoursOff": off.hours, "SavedUSD": saved})
    log.info("%s: %.2f h off, %.2f USD saved", off.basis, off.hours, saved)


def publish_interrupted(record: Record) -> None:
    """Publish a time off that scale_up did not finish: it failed, or somebody started nodes at an unknown time."""
    if not record.on_since:
        log.info("Nodes were started by somebody since %s: that time off is not counted", record.off_since)
    ended = record.model_copy(update={"on_since": record.on_since or record.off_since})
    if off := savings.time_off(ended):
        publish(off)


def _put_metrics(basis: str, values: dict[str, float]) -> None:
    dimensions = [{"Name": "Environment", "Value": settings().environment}, {"Name": "Basis", "Value": basis}]
    AwsBaseHook(aws_conn_id=AIRFLOW, client_type="cloudwatch", region_name=settings().region).conn.put_metric_data(
        Namespace=METRIC_NAMESPACE,
        MetricData=[
            {"MetricName": name, "Value": value, "Unit": "None", "Dimensions": dimensions}
            for name, value in values.items()
        ],
    )
