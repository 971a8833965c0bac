"""Notifies people of failed runs, through the environment's SNS topic."""

import logging
from collections.abc import Mapping
from typing import Any

from airflow.providers.amazon.aws.hooks.sns import SnsHook

from include.settings import settings

log = logging.getLogger(__name__)


def alerts_topic() -> str:
    """Return the ARN of the topic for alarms and failed runs; the observability stack makes it."""
    current = settings()
    return f"arn:aws:sns:{current.region}:{current.account_id}:mlops-retail-{current.environment}-alerts"


def failure_text(context: Mapping[str, Any]) -> str:
    """Return what failed, why, and where to look; context: what Airflow passes to a DAG's failure callback."""
    run = context["dag_run"]
    lines = [f"DAG {run.dag_id} failed: {context.get('reason') or 'a task failed'}", f"run {run.run_id}"]
    if key := getattr(run, "partition_key", None):
        lines.append(f"shop week {key}")
    if ti := context.get("ti") or context.get("task_instance"):
        lines.append(f"last task {ti.task_id}, try {ti.try_number}")
    return "\n".join(lines)


def notify_failure(context: Mapping[str, Any]) -> None:
    """Send a message about a failed run; on_failure_callback of every DAG.

    A message that cannot be sent is only logged: it never hides the failure itself.
    """
    text = failure_text(context)
    log.error("%s", text)
    try:
        SnsHook(aws_conn_id="aws_default", region_name=settings().region).publish_to_target(
            target_arn=alerts_topic(), message=text, subject=f"Retail MLOps: {context['dag_run'].dag_id} failed"
        )
    except Exception as error:
        log.warning("The notification was not sent to %s: %s", alerts_topic(), error)
