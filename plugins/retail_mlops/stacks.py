"""The stacks of infra/: their order, and which setting fills which parameter."""

import datetime as dt
import hashlib
import re
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.sts import StsHook

from include import hours, templates
from include.settings import settings
from retail_mlops.dag_defaults import ROOT
from retail_mlops.errors import RetailError
from retail_mlops.hooks.cloudformation import Stack

ORDER: Final = ("network", "lake", "registry", "identity", "cluster", "observability", "budget")
"""Each imports what earlier ones export."""
AUDIT: Final = "audit"
"""The stack that there is only when settings().audit says so; it comes last."""
BACKSTOP_AFTER: Final = dt.timedelta(minutes=30)
_MONDAY: Final = dt.date(2026, 1, 5)
_ASSUMED_ROLE = re.compile(r"arn:aws:sts::\d+:assumed-role/([^/]+)/.+")


def declared(template: str) -> dict[str, dict[str, Any]]:
    """The parameters that a template declares: name → its declaration."""
    return templates.read(template).get("Parameters", {})


def values(admin: str) -> dict[str, str]:
    """All parameters that the project's settings give; admin: ARN of the person's user or role."""
    ours = settings()
    return {
        "Environment": ours.environment,
        "Owner": ours.owner,
        "CostCenter": ours.cost_center,
        "AdminPrincipalArn": admin,
        "KubernetesVersion": ours.kubernetes_version,
        "NodeInstanceTypes": ours.node_instance_types,
        "NodeCapacity": ours.node_capacity,
        "NodeCount": str(ours.node_count),
        "ClusterCidrs": ours.cluster_cidrs,
        "LogRetentionDays": str(ours.log_retention_days),
        "ContainerInsights": str(ours.container_insights).lower(),
        "GitHubRepository": ours.github_repository,
        "GitHubProviderArn": ours.github_provider_arn,
        "AlertEmail": ours.alert_email,
        "AfterHours": after_hours(),
        "BudgetName": ours.stack(f"monthly-{hashlib.sha256(ours.alert_email.encode()).hexdigest()[:6]}"),
        "MonthlyBudget": f"{ours.monthly_budget_usd:g}",
        "BackstopState": "ENABLED" if ours.backstop else "DISABLED",
        "BackstopCron": backstop_cron(),
    }


def components() -> tuple[str, ...]:
    """The stacks of this environment, in the order in which they are made."""
    return (*ORDER, AUDIT) if settings().audit else ORDER


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


def stack(component: str, admin: str) -> Stack:
    """The stack of infra/<component>.yaml; RetailError when it needs a parameter that nothing fills."""
    path = ROOT / "infra" / f"{component}.yaml"
    template, given = path.read_text(), values(admin)
    wanted = declared(template)
    if missing := [name for name, text in wanted.items() if name not in given and "Default" not in text]:
        raise RetailError(f"infra/{path.name} needs {', '.join(missing)}: name the setting in stacks.values")
    return Stack(
        name=settings().stack(component),
        template=template,
        parameters={name: given[name] for name in wanted if name in given},
        tags=settings().tags | {"Component": component},
    )


def principal(connection: str) -> str:
    """IAM ARN of who a connection is: a user's own, or the role behind an assumed one.

    Only IAM knows a role's path, which belongs to its ARN: those of IAM Identity Center have one.
    """
    arn = StsHook(aws_conn_id=connection, region_name=settings().region).conn.get_caller_identity()["Arn"]
    if match := _ASSUMED_ROLE.fullmatch(arn):
        iam = AwsBaseHook(aws_conn_id=connection, client_type="iam", region_name=settings().region).conn
        return iam.get_role(RoleName=match[1])["Role"]["Arn"]
    return arn
