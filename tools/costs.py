"""Writes docs/costs.md: what a month costs, by resource, in five scenarios.

What is there is counted in infra/*.yaml and k8s/rendered/eks*.yaml, sizes come from the settings, prices from
include/prices.toml. What only use decides (gigabytes, runs) is Assumed below and is shown with the result.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs" / "costs.md"
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from include import costs, hours, templates  # noqa: E402 - a script finds its project itself
from include.costs import HOURS_A_MONTH, Kind  # noqa: E402
from include.settings import PREFIX, settings  # noqa: E402
from retail_mlops.common.job_requests import VOLUME_GB  # noqa: E402
from retail_mlops.common.stack_parameters import values  # noqa: E402

WEEKS_A_MONTH: Final = HOURS_A_MONTH / 168
DEMO_HOURS: Final = 3


def _because(value: float, why: str) -> Any:
    return field(default=value, metadata={"why": why})


@dataclass(frozen=True)
class Assumed:
    """What use decides, not a template; the page shows each with its reason."""

    lake_gb: float = _because(
        5, "twelve weeks of raw, silver and gold (a week: 2.7 million lines, 100 MB compressed), models"
    )
    images_gb: float = _because(2, "some Docker images of the API and of the jobs")
    logs_gb_an_hour: float = _because(
        0.005,
        "a guess for a quiet cluster: the control plane's audit log, the pods' lines; nobody has measured it. Yours is "
        "the metric `IncomingBytes` of `AWS/Logs`",
    )
    metrics: int = _because(20, "the API's, the cost schedule's; each name and dimension counts")
    etl_minutes: float = _because(5, "a week's job, mostly the start of its machine")
    fit_minutes: float = _because(20, "a full-size training")
    evaluate_minutes: float = _because(10, "its evaluation")
    etl_runs_a_week: float = _because(1, "the weekly file")
    trainings_a_week: float = _because(1, "the schedule of `train`")
    demo_etl_runs: int = _because(12, "the demo's weeks")
    demo_trainings: int = _because(1, "the demo's model")


ASSUMED: Final = Assumed()


class Scenario(StrEnum):
    ALWAYS = "always on"
    SCHEDULE = "schedule"
    DEMO = f"demo {DEMO_HOURS} h"
    KEPT = "torn down, data kept"
    GONE = "torn down"


class Lives(StrEnum):
    """When a thing is paid: what scale_down removes, what teardown removes, what keep_data leaves."""

    WHILE_UP = "while the environment is up"
    WHILE_THERE = "from provision to teardown"
    DATA = "also after a teardown with keep_data"


def hours_up_a_week() -> float:
    """Of the cost schedule: the hours in which its newest moment was an up."""
    now = dt.datetime(2026, 1, 5, tzinfo=hours.ZONE)  # any week: the zone has no summer time
    end, up = now + dt.timedelta(weeks=1), dt.timedelta()
    while now < end:
        following = min(hours.down().next(now), hours.up().next(now), end)
        up += dt.timedelta() if hours.are_off(now) else following - now
        now = following
    return up / dt.timedelta(hours=1)


def hours_paid(lives: Lives) -> dict[Scenario, float]:
    """Hours of a month in which such a thing is paid."""
    up = hours_up_a_week() * WEEKS_A_MONTH
    there: dict[Scenario, float] = {Scenario.ALWAYS: HOURS_A_MONTH, Scenario.SCHEDULE: HOURS_A_MONTH}
    there |= {Scenario.DEMO: DEMO_HOURS, Scenario.KEPT: 0, Scenario.GONE: 0}
    if lives is Lives.WHILE_UP:
        there[Scenario.SCHEDULE] = up
    if lives is Lives.DATA:
        there[Scenario.KEPT] = HOURS_A_MONTH
    return there


@dataclass(frozen=True)
class Line:
    """A row of the table: USD a month in each scenario, and how it was counted."""

    what: str
    quantity: str
    usd_an_hour: float
    usd: dict[Scenario, float]


def line(what: str, quantity: str, lives: Lives, usd_an_hour: float) -> Line:
    """A thing that is paid as long as it is there."""
    paid = hours_paid(lives)
    return Line(what, quantity, usd_an_hour, {scenario: paid[scenario] * usd_an_hour for scenario in Scenario})


# --- what the templates make ---
OPTIONAL: Final = ("audit",)
"""Stacks that are made only when a setting asks for them: not counted."""


@dataclass(frozen=True)
class Made:
    """A resource that the templates make when the settings fill their parameters."""

    stack: str
    name: str
    type: str
    properties: dict[str, Any]


def made() -> list[Made]:
    found, given = [], values(admin="")
    for path in sorted((ROOT / "infra").glob("*.yaml")):
        if path.stem in OPTIONAL:
            continue
        template = templates.read(path.read_text())
        for name, resource in template["Resources"].items():
            condition = resource.get("Condition")
            if condition is None or _is_on(template["Conditions"][condition], given):
                found.append(Made(path.stem, name, resource["Type"], resource.get("Properties", {})))
    return found


def _is_on(test: dict[str, Any], given: dict[str, str]) -> bool:
    """A condition's value; given: the parameters'. ValueError for a function that it does not know."""
    ((function, asked),) = test.items()
    if function == "Equals":
        left, right = (given[one["Ref"]] if isinstance(one, dict) else one for one in asked)
        return left == right
    if function == "Not":
        return not _is_on(asked[0], given)
    raise ValueError(f"tools/costs.py does not understand the condition {test}: extend _is_on")


def _endpoint(resource: Made) -> Iterator[Line]:
    if resource.properties.get("VpcEndpointType") == "Interface":
        zones = len(resource.properties["SubnetIds"])
        each = costs.hourly(Kind.INTERFACE_ENDPOINT, count=zones)
        yield line("interface endpoints", f"1 in {zones} zones", Lives.WHILE_THERE, each)


def _nodes(resource: Made) -> Iterator[Line]:
    count, instance = settings().node_count, settings().node_instance_types.split(",")[0]
    spot = settings().node_capacity == "SPOT"
    price = costs.hourly(Kind.EC2_INSTANCE, instance, count, spot=spot)
    yield line(f"nodes {instance}{' Spot' if spot else ''}", str(count), Lives.WHILE_UP, price)


def _disks(resource: Made) -> Iterator[Line]:
    (device,) = resource.properties["LaunchTemplateData"]["BlockDeviceMappings"]
    size, count = device["Ebs"]["VolumeSize"], settings().node_count
    price = costs.hourly(Kind.EBS_GP3_GB, count=count * size)
    yield line("disks of nodes, gp3", f"{count} × {size} GB", Lives.WHILE_UP, price)


def _each(what: str, kind: Kind, quantity: float = 1, unit: str = "", lives: Lives = Lives.WHILE_THERE) -> Any:
    def lines(resource: Made) -> Iterator[Line]:
        yield line(what, f"{quantity:g}{unit}", lives, costs.hourly(kind, count=quantity))

    return lines


PRICED: Final[dict[str, Callable[[Made], Iterator[Line]]]] = {
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::EKS::Cluster": _each("EKS control plane", Kind.EKS_CLUSTER),
    "AWS::EKS::Nodegroup": _nodes,
    "AWS::EC2::LaunchTemplate": _disks,
    "AWS::CloudWatch::Alarm": _each("alarms", Kind.ALARM),
    "AWS::CloudWatch::CompositeAlarm": _each("alarms", Kind.ALARM),
    "AWS::CloudWatch::Dashboard": _each("dashboards", Kind.DASHBOARD),
    "AWS::KMS::Key": _each("KMS keys", Kind.KMS_KEY),
    "AWS::EC2::EIP": _each("elastic IP addresses", Kind.PUBLIC_IPV4),
}
FREE: Final = (
    "AWS::IAM::",
    "AWS::Budgets::Budget",  # without actions
    "AWS::CloudTrail::Trail",  # an account's first trail of management events
    "AWS::CloudWatch::InsightRule",
    "AWS::EC2::",  # networks and templates; what is paid stands above
    "AWS::ECR::Repository",  # its gigabytes are assumed
    "AWS::EKS::",  # access entries and these add-ons
    "AWS::Events::",
    "AWS::KMS::Alias",
    "AWS::Logs::",  # their gigabytes are assumed
    "AWS::S3::",  # so are these
    "AWS::SNS::",  # a few messages a month
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::Scheduler::",  # the first 14 million calls of a month
)
"""Types, or beginnings of types, that cost nothing to have."""
NOT_FREE: Final = ("AWS::EC2::NatGateway", "AWS::EC2::Instance", "AWS::EC2::Volume")


def from_templates() -> list[Line]:
    """Rows of what the templates make, the same things together. ValueError for a type that has no price here."""
    rows: dict[str, list[Line]] = {}
    for resource in made():
        if price := PRICED.get(resource.type):
            for found in price(resource):
                rows.setdefault(found.what, []).append(found)
        elif resource.type in NOT_FREE or not resource.type.startswith(FREE):
            raise ValueError(
                f"{resource.type} ({resource.name} of infra/{resource.stack}.yaml) has no price: "
                "add it to PRICED or FREE in tools/costs.py"
            )
    return [_sum(lines) for lines in rows.values()]


def _sum(lines: list[Line]) -> Line:
    first = lines[0]
    if len(lines) == 1:
        return first
    usd = {scenario: sum(one.usd[scenario] for one in lines) for scenario in Scenario}
    quantity = f"{len(lines)} × {first.quantity}" if first.quantity != "1" else str(len(lines))
    return Line(first.what, quantity, sum(one.usd_an_hour for one in lines), usd)


# --- what the manifests make, and what is used ---
def public_endpoint() -> list[Line]:
    """A load balancer for each Service of type LoadBalancer or Ingress, with an address in each public subnet."""
    kind = settings().endpoint_kind
    rendered = {"nlb": "eks.yaml", "alb": "eks-alb.yaml"}[kind]
    documents = yaml.safe_load_all((ROOT / "k8s" / "rendered" / rendered).read_text())
    count = sum(
        found["kind"] == "Ingress" or found.get("spec", {}).get("type") == "LoadBalancer"
        for found in documents
        if found
    )
    subnets = [resource for resource in made() if resource.type == "AWS::EC2::Subnet"]
    public = sum(
        any(tag["Key"] == "kubernetes.io/role/elb" for tag in one.properties.get("Tags", [])) for one in subnets
    )
    price = costs.hourly(Kind.LOAD_BALANCER, {"nlb": "network", "alb": "application"}[kind], count)
    return [
        line(f"load balancer ({kind.upper()})", str(count), Lives.WHILE_UP, price),
        line(
            "public IPv4 addresses",
            f"{count} × {public} zones",
            Lives.WHILE_UP,
            costs.hourly(Kind.PUBLIC_IPV4, count=count * public),
        ),
    ]


def storage() -> list[Line]:
    a, lake, images = ASSUMED, Kind.S3_GB, Kind.ECR_GB
    return [
        line("lake, S3 Standard", f"{a.lake_gb:g} GB", Lives.DATA, costs.hourly(lake, count=a.lake_gb)),
        line("images, ECR", f"{a.images_gb:g} GB", Lives.WHILE_THERE, costs.hourly(images, count=a.images_gb)),
        line("metrics", str(a.metrics), Lives.WHILE_UP, costs.hourly(Kind.METRIC, count=a.metrics)),
        line(
            "logs, ingested and kept for a month",
            f"{a.logs_gb_an_hour * 1000:g} MB an hour",
            Lives.WHILE_THERE,
            a.logs_gb_an_hour * (costs.monthly(Kind.LOGS_INGESTED_GB) + costs.monthly(Kind.LOGS_GB)),
        ),
    ]


def jobs() -> list[Line]:
    """SageMaker jobs by their minutes; their disks live as long as they do."""
    a, ours = ASSUMED, settings()
    weekly = {Scenario.ALWAYS: WEEKS_A_MONTH, Scenario.SCHEDULE: WEEKS_A_MONTH}
    etl = {scenario: a.etl_runs_a_week * weeks for scenario, weeks in weekly.items()} | {Scenario.DEMO: a.demo_etl_runs}
    train = {scenario: a.trainings_a_week * weeks for scenario, weeks in weekly.items()}
    train |= {Scenario.DEMO: a.demo_trainings}
    volume = costs.hourly(Kind.SAGEMAKER_VOLUME_GB, count=VOLUME_GB)
    rows = []
    for what, instance, minutes, runs in (
        ("etl jobs", ours.processing_instance, a.etl_minutes, etl),
        ("training jobs", ours.training_instance, a.fit_minutes, train),
        ("evaluation jobs", ours.processing_instance, a.evaluate_minutes, train),
    ):
        price = costs.hourly(Kind.SAGEMAKER_INSTANCE, instance) + volume
        usd = {scenario: runs.get(scenario, 0) * minutes / 60 * price for scenario in Scenario}
        quantity = f"{minutes:g} min × {runs[Scenario.ALWAYS]:.1f} runs (demo: {runs[Scenario.DEMO]:g})"
        rows.append(Line(f"{what} {instance}", quantity, price, usd))
    return rows


def table() -> list[Line]:
    """Every row, the dearest first."""
    rows = [*from_templates(), *public_endpoint(), *storage(), *jobs()]
    return sorted(rows, key=lambda row: (-row.usd[Scenario.ALWAYS], row.what))


# --- the page ---
def unverified() -> Iterator[str]:
    for kind, group in costs.prices().groups.items():
        if group.unverified:
            names = ", ".join(name for name in group.unverified if name)
            yield f"{kind}{f' ({names})' if names else ''}"


def page() -> str:
    rows, ours, prices = table(), settings(), costs.prices()
    total = {scenario: sum(row.usd[scenario] for row in rows) for scenario in Scenario}
    up, saved = hours_up_a_week(), total[Scenario.ALWAYS] - total[Scenario.SCHEDULE]
    head = " | ".join(Scenario)
    body = [
        f"| {row.what} | {row.quantity} | {row.usd_an_hour:.4f} | "
        + " | ".join(f"{row.usd[scenario]:.2f}" for scenario in Scenario)
        + " |"
        for row in rows
    ]
    dearest = ", ".join(f"{row.what} {row.usd[Scenario.SCHEDULE]:.0f} USD" for row in _dearest(rows))
    assumed = "\n".join(
        f"| `{one.name}` | {getattr(ASSUMED, one.name):g} | {one.metadata['why']} |" for one in fields(ASSUMED)
    )
    pages = "\n".join(f"- {kind}: <{group.page}>" for kind, group in prices.groups.items())
    return f"""# What it costs

`make costs` writes this page from infra/, the defaults of the settings and the price table; do not edit it.
**Prices of {prices.date}**, on demand, in {prices.region}, in USD, without tax, free tiers and discounts
({prices.source}). They change: check them against AWS's pages (below) and your own bill
before you rely on a sum. Nobody has compared this page with a bill yet.

Settings: {ours.node_count} nodes {ours.node_instance_types}. The schedule stops the environment at {ours.scale_down_at}
({ours.scale_down_days}) and starts it at {ours.scale_up_at} ({ours.scale_up_days}), so it is up for
{up:g} of 168 hours a week. For your own settings:
`.venv/dev/bin/python -m tools.costs --mine` with your RETAIL_* exported.

USD a month (the demo: USD for its {DEMO_HOURS} hours):

| resource | quantity | USD an hour | {head} |
|---|---|--:|{"--:|" * len(Scenario)}
{chr(10).join(body)}
| **sum** | | | {" | ".join(f"**{total[scenario]:.2f}**" for scenario in Scenario)} |

- The schedule saves {saved:.2f} USD a month: what `scale_down` removes is charged for {up * WEEKS_A_MONTH:.0f} of
  {HOURS_A_MONTH} hours.
- What it leaves is charged around the clock: {dearest}. Only `teardown` ends that.
- `teardown` leaves nothing that costs money; with `keep_data` it leaves the lake.

## Formulae

- Billed by the hour: count × price × hours. Billed by the month: count × price × hours / {HOURS_A_MONTH}.
- A month has {HOURS_A_MONTH} hours, {WEEKS_A_MONTH:.2f} weeks.
- Charged {Lives.WHILE_UP}: nodes, their disks, the public endpoint, metrics. Charged {Lives.DATA}: the lake.
  Charged {Lives.WHILE_THERE}: everything else except the jobs.
- An interface endpoint is charged in each zone. A load balancer is charged by the hour; its capacity units are
  left out.
- Jobs: runs × minutes / 60 × (instance + {VOLUME_GB} GB disk).
- Spot, where the node group uses it: {prices.groups[Kind.EC2_INSTANCE].spot_share:g} of the on-demand price. This is an
  assumption, not a quoted price.

Counted: the resources in infra/*.yaml, with the settings as parameters, and the endpoint in k8s/rendered. Assumed,
because it depends on use (change it in tools/costs.py):

| what | value | why |
|---|--:|---|
{assumed}

Left out: data through endpoints and load balancers, data to the Internet ({costs.monthly(Kind.DATA_OUT_GB):g} USD a GB
beyond the first 100), the optional stack {OPTIONAL[0]}, requests to S3, life-cycle transitions, Logs Insights queries,
extended support of old Kubernetes versions.

## Prices

The table is include/prices.toml. These prices were in no public record of AWS's price list,
so they follow AWS's usual ratios:
{"; ".join(unverified())}.

{pages}
"""


def _dearest(rows: list[Line]) -> list[Line]:
    """What costs most of that which the schedule does not touch."""
    standing = [row for row in rows if row.usd[Scenario.ALWAYS] == row.usd[Scenario.SCHEDULE]]
    return sorted(standing, key=lambda row: -row.usd[Scenario.SCHEDULE])[:2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with docs/costs.md, write nothing")
    parser.add_argument("--mine", action="store_true", help="print it for the RETAIL_* of this shell, write nothing")
    given = parser.parse_args()
    if given.mine:
        print(page())
        return 0
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # the page in the repository is about the defaults
    fresh = page()
    if given.check:
        stale = not PAGE.exists() or PAGE.read_text() != fresh
        print("docs/costs.md is stale: run `make costs`" if stale else "docs/costs.md is up to date")
        return int(stale)
    PAGE.write_text(fresh)
    print(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
