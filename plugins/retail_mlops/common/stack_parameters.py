"""The parameters of the templates in infra/, from the settings; and the cost schedule in AWS's notation. Pure."""

import datetime as dt
import hashlib
from typing import Final

from include import hours
from include.settings import CLUSTER_NAME, settings

BACKSTOP_AFTER: Final = dt.timedelta(minutes=30)
_MONDAY: Final = dt.date(2026, 1, 5)


def values(admin: str) -> dict[str, str]:
    """Return every parameter of the templates; admin: ARN of the person's user or role."""
    current = settings()
    return {
        "Environment": current.environment,
        "Owner": current.owner,
        "CostCenter": current.cost_center,
        "AdminPrincipalArn": admin,
        "ClusterName": CLUSTER_NAME,
        "KubernetesVersion": current.kubernetes_version,
        "NodegroupName": current.nodegroup,
        "NodeInstanceTypes": current.node_instance_types,
        "NodeCapacity": current.node_capacity,
        "NodeCount": str(current.node_count),
        "EndpointKind": current.endpoint_kind,
        "ClusterCidrs": current.cluster_cidrs,
        "LogRetentionDays": str(current.log_retention_days),
        "ContainerInsights": str(current.container_insights).lower(),
        "GitHubRepository": current.github_repository,
        "AlertEmail": current.alert_email,
        "AfterHours": after_hours(),
        "BudgetName": current.stack(f"monthly-{hashlib.sha256(current.alert_email.encode()).hexdigest()[:6]}"),
        "MonthlyBudget": f"{current.monthly_budget_usd:g}",
        "BackstopState": "ENABLED" if current.backstop else "DISABLED",
        "BackstopCron": backstop_cron(),
    }


def backstop_cron() -> str:
    """Return EventBridge's cron of the backstop: BACKSTOP_AFTER scale_down, on its days, in TIMEZONE."""
    down = hours.scale_down_schedule()
    at = dt.datetime.combine(_MONDAY, dt.time.fromisoformat(down.at)) + BACKSTOP_AFTER
    shift = (at.date() - _MONDAY).days  # 1 when it falls on the next day
    days = sorted((day + shift) % 7 for day in down.weekdays)
    when = "* * ?" if len(days) == 7 else f"? * {','.join(hours.DAYS[day].upper() for day in days)}"
    return f"cron({at.minute} {at.hour} {when} *)"


def after_hours(metric: str = "requests") -> str:
    """Return CloudWatch metric math that is true in the whole hours (UTC) in which the environment is off.

    Only times off of an hour or more count.

    Functions: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """
    start, hour = dt.datetime.combine(_MONDAY, dt.time(), dt.UTC), dt.timedelta(hours=1)
    off = [
        number
        for number in range(7 * 24)
        if all(hours.is_scheduled_off(start + number * hour + part) for part in (-hour, dt.timedelta(), hour * 0.999))
    ]
    firsts = [number for number in off if number - 1 not in off]
    lasts = [number for number in off if number + 1 not in off]
    number = f"(DAY({metric}) - 1) * 24 + HOUR({metric})"  # Monday is 1
    spans = [f"({number} >= {first} AND {number} <= {last})" for first, last in zip(firsts, lasts, strict=True)]
    return " OR ".join(spans) or f"{metric} < 0"
