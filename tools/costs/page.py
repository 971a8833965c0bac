"""The text of docs/costs.md."""

from collections.abc import Iterator
from dataclasses import fields

from include import costs
from include.costs import HOURS_A_MONTH, Kind
from include.settings import settings
from retail_mlops.common.job_requests import VOLUME_GB
from tools.costs.resources import OPTIONAL, from_templates
from tools.costs.scenarios import DEMO_HOURS, WEEKS_A_MONTH, Line, Lives, Scenario, hours_up_a_week
from tools.costs.usage import ASSUMED, jobs, public_endpoint, storage


def table() -> list[Line]:
    """Return every row, the most expensive first."""
    rows = [*from_templates(), *public_endpoint(), *storage(), *jobs()]
    return sorted(rows, key=lambda row: (-row.usd[Scenario.ALWAYS], row.what))


def page() -> str:
    """Return the text of the page."""
    rows = table()
    return "\n".join([_introduction(), _table(rows), _remarks(rows), _formulae(), _assumptions(), _prices()])


def _total(rows: list[Line]) -> dict[Scenario, float]:
    return {scenario: sum(row.usd[scenario] for row in rows) for scenario in Scenario}


def _introduction() -> str:
    prices = costs.prices()
    own = settings()
    return f"""# What it costs

`make costs` writes this page from infra/, the defaults of the settings and the price table; do not edit it.
**Prices of {prices.date}**, on demand, in {prices.region}, in USD, without tax, free tiers and discounts
({prices.source}). They change: check them against AWS's pages (below) and your own bill
before you rely on a sum. Nobody has compared this page with a bill yet.

Settings: {own.node_count} nodes {own.node_instance_types}. The schedule stops the environment at {own.scale_down_at}
({own.scale_down_days}) and starts it at {own.scale_up_at} ({own.scale_up_days}), so it is up for
{hours_up_a_week():g} of 168 hours a week. For your own settings:
`.venv/dev/bin/python -m tools.costs --mine` with your RETAIL_* exported.
"""


def _table(rows: list[Line]) -> str:
    total = _total(rows)
    body = [
        f"| {row.what} | {row.quantity} | {row.usd_an_hour:.4f} | "
        + " | ".join(f"{row.usd[scenario]:.2f}" for scenario in Scenario)
        + " |"
        for row in rows
    ]
    return f"""USD a month (the demo: USD for its {DEMO_HOURS} hours):

| resource | quantity | USD an hour | {" | ".join(Scenario)} |
|---|---|--:|{"--:|" * len(Scenario)}
{chr(10).join(body)}
| **sum** | | | {" | ".join(f"**{total[scenario]:.2f}**" for scenario in Scenario)} |
"""


def _remarks(rows: list[Line]) -> str:
    total = _total(rows)
    saved = total[Scenario.ALWAYS] - total[Scenario.SCHEDULE]
    standing = ", ".join(f"{row.what} {row.usd[Scenario.SCHEDULE]:.0f} USD" for row in _most_expensive_standing(rows))
    return f"""- The schedule saves {saved:.2f} USD a month: what `scale_down` removes is charged for \
{hours_up_a_week() * WEEKS_A_MONTH:.0f} of
  {HOURS_A_MONTH} hours.
- What it leaves is charged around the clock: {standing}. Only `teardown` ends that.
- `teardown` leaves nothing that costs money; with `keep_data` it leaves the lake.
"""


def _most_expensive_standing(rows: list[Line]) -> list[Line]:
    """Return the two most expensive rows that the schedule does not change."""
    standing = [row for row in rows if row.usd[Scenario.ALWAYS] == row.usd[Scenario.SCHEDULE]]
    return sorted(standing, key=lambda row: -row.usd[Scenario.SCHEDULE])[:2]


def _formulae() -> str:
    spot_share = costs.prices().groups[Kind.EC2_INSTANCE].spot_share
    return f"""## Formulae

- Billed by the hour: count × price × hours. Billed by the month: count × price × hours / {HOURS_A_MONTH}.
- A month has {HOURS_A_MONTH} hours, {WEEKS_A_MONTH:.2f} weeks.
- Charged {Lives.WHILE_UP}: nodes, their disks, the public endpoint, metrics. Charged {Lives.DATA}: the lake.
  Charged {Lives.WHILE_THERE}: everything else except the jobs.
- An interface endpoint is charged in each zone. A load balancer is charged by the hour; its capacity units are
  left out.
- Jobs: runs × minutes / 60 × (instance + {VOLUME_GB} GB disk).
- Spot, where the node group uses it: {spot_share:g} of the on-demand price. This is an
  assumption, not a quoted price.
"""


def _assumptions() -> str:
    rows = [f"| `{item.name}` | {getattr(ASSUMED, item.name):g} | {item.metadata['why']} |" for item in fields(ASSUMED)]
    return f"""\
Counted: the resources in infra/*.yaml, with the settings as parameters, and the endpoint in k8s/rendered. Assumed,
because it depends on use (change it in tools/costs/usage.py):

| what | value | why |
|---|--:|---|
{chr(10).join(rows)}

Left out: data through endpoints and load balancers, data to the Internet ({costs.monthly(Kind.DATA_OUT_GB):g} USD a GB
beyond the first 100), the optional stack {OPTIONAL[0]}, requests to S3, life-cycle transitions, Logs Insights queries,
extended support of old Kubernetes versions.
"""


def _unverified() -> Iterator[str]:
    for kind, group in costs.prices().groups.items():
        if group.unverified:
            names = ", ".join(name for name in group.unverified if name)
            yield f"{kind}{f' ({names})' if names else ''}"


def _prices() -> str:
    sources = "\n".join(f"- {kind}: <{group.page}>" for kind, group in costs.prices().groups.items())
    return f"""## Prices

The table is include/prices.toml. These prices were in no public record of AWS's price list,
so they follow AWS's usual ratios:
{"; ".join(_unverified())}.

{sources}
"""
