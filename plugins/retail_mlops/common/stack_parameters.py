"""Which setting fills which parameter of infra/, and the cost schedule in the words of AWS. Pure."""

import datetime as dt
import hashlib
from typing import Final

from include import hours
from include.settings import CLUSTER_NAME, settings

BACKSTOP_AFTER: Final = dt.timedelta(minutes=30)
_MONDAY: Final = dt.date(2026, 1, 5)


def values(admin: str) -> dict[str, str]:
    """Every parameter of the templates; admin: ARN of the person's user or role."""
    ours = settings()
    return {
        "Environment": ours.environment,
        "Owner": ours.owner,
        "CostCenter": ours.cost_center,
        "AdminPrincipalArn": admin,
        "ClusterName": CLUSTER_NAME,
        "KubernetesVersion": ours.kubernetes_version,
        "NodegroupName": ours.nodegroup,
        "NodeInstanceTypes": ours.node_instance_types,
        "NodeCapacity": ours.node_capacity,
        "NodeCount": str(ours.node_count),
        "EndpointKind": ours.endpoint_kind,
        "ClusterCidrs": ours.cluster_cidrs,
        "LogRetentionDays": str(ours.log_retention_days),
        "ContainerInsights": str(ours.container_insights).lower(),
        "GitHubRepository": ours.github_repository,
        "AlertEmail": ours.alert_email,
        "AfterHours": after_hours(),
        "BudgetName": ours.stack(f"monthly-{hashlib.sha256(ours.alert_email.encode()).hexdigest()[:6]}"),
        "MonthlyBudget": f"{ours.monthly_budget_usd:g}",
        "BackstopState": "ENABLED" if ours.backstop else "DISABLED",
        "BackstopCron": backstop_cron(),
    }


def backstop_cron() -> str:
    """EventBridge's cron of the backstop: BACKSTOP_AFTER scale_down, on its days, in TIMEZONE."""
    down = hours.down()
    at = dt.datetime.combine(_MONDAY, dt.time.fromisoformat(down.at)) + BACKSTOP_AFTER
    moved = (at.date() - _MONDAY).days  # past midnight it is the next day's
    days = sorted((day + moved) % 7 for day in down.weekdays)
    when = "* * ?" if len(days) == 7 else f"? * {','.join(hours.DAYS[day].upper() for day in days)}"
    return f"cron({at.minute} {at.hour} {when} *)"


def after_hours(metric: str = "requests") -> str:
    """CloudWatch metric math, true in the hours (UTC, whole ones) in which the environment is off for an hour or more.

    Functions: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """
    start, hour = dt.datetime.combine(_MONDAY, dt.time(), dt.UTC), dt.timedelta(hours=1)
    off = [
        number
        for number in range(7 * 24)
        if all(hours.are_off(start + number * hour + part) for part in (-hour, dt.timedelta(), hour * 0.999))
    ]
    firsts = [number for number in off if number - 1 not in off]
    lasts = [number for number in off if number + 1 not in off]
    number = f"(DAY({metric}) - 1) * 24 + HOUR({metric})"  # Monday is 1
    spans = [f"({number} >= {first} AND {number} <= {last})" for first, last in zip(firsts, lasts, strict=True)]
    return " OR ".join(spans) or f"{metric} < 0"
