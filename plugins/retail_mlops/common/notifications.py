"""Tells people that a run failed, through the environment's SNS topic."""

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.sns import SnsHook

from include.settings import settings

log = logging.getLogger(__name__)


def alerts_topic() -> str:
    """ARN of the topic that alarms and failed runs go to; it exists once its stack was deployed."""
    ours = settings()
    return f"arn:aws:sns:{ours.region}:{ours.account_id}:mlops-retail-{ours.environment}-alerts"


def failure_text(context: dict[str, Any]) -> str:
    """What failed, why, where to look; `context` is the one that Airflow gives a DAG's failure callback."""
    run = context["dag_run"]
    lines = [f"DAG {run.dag_id} failed: {context.get('reason') or 'a task failed'}", f"run {run.run_id}"]
    if key := getattr(run, "partition_key", None):
        lines.append(f"shop week {key}")
    if ti := context.get("ti") or context.get("task_instance"):
        lines.append(f"last task {ti.task_id}, try {ti.try_number}")
    return "\n".join(lines)


def notify_failure(context: dict[str, Any]) -> None:
    """on_failure_callback of every DAG. A message that cannot be sent is logged: it never hides the failure itself."""
    text = failure_text(context)
    log.error("%s", text)
    try:
        SnsHook(aws_conn_id="aws_default", region_name=settings().region).publish_to_target(
            target_arn=alerts_topic(), message=text, subject=f"Retail MLOps: {context['dag_run'].dag_id} failed"
        )
    except Exception as error:
        log.warning("not sent to %s: %s", alerts_topic(), error)
