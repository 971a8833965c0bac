"""Which resources belong to an environment, which are left, and what they cost a month. Pure.

One account may hold several environments. Most names carry their environment; those of the repositories, the model
package group, the cluster and what EKS names after the cluster do not (docs/decisions/0006): they belong to the
environment whose tag they carry and, without a tag, to the one whose stack could have made them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from include import costs
from include.costs import Kind
from include.settings import (
    API_REPOSITORY,
    CLUSTER_NAME,
    CONTROLLER_REPOSITORY,
    JOBS_REPOSITORY,
    MODEL_PACKAGE_GROUP,
    PROJECT,
)
from retail_mlops.common.ownership import cluster_of, environment_in, environment_of
from retail_mlops.common.tables import markdown_table

CLUSTER_LOGS: Final = (f"/aws/eks/{CLUSTER_NAME}/", f"/aws/containerinsights/{CLUSTER_NAME}/")
REGISTRY_NAMES: Final = (API_REPOSITORY, CONTROLLER_REPOSITORY, JOBS_REPOSITORY, MODEL_PACKAGE_GROUP)
LAKES: Final = "mlops-retail-prediction-"
_STACK: Final = re.compile(r"mlops-retail-([a-z][a-z0-9]{1,11})-[a-z]+")
MAX_ROWS: Final = 300
"""Of a table; the other resources are counted."""


@dataclass(frozen=True)
class Resource:
    """A resource that AWS lists. kind, detail, count: what `include.costs` needs for its price."""

    arn: str
    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    vpc: str = ""
    """id of the VPC it lies in, or is"""
    kind: Kind = Kind.FREE
    detail: str = ""
    count: float = 1
    note: str = ""

    @property
    def monthly(self) -> float | None:
        """USD; None when the price table does not know the detail (another instance type, say)."""
        try:
            return costs.monthly(self.kind, self.detail, self.count)
        except ValueError:
            return None


def resource_type(arn: str) -> str:
    """Return service and type of an ARN: `ec2:vpc`, `logs:log-group`; only the service of S3 and SNS."""
    _, _, service, _, _, rest = arn.split(":", 5)
    return service if service in ("s3", "sns") else f"{service}:{re.split('[:/]', rest)[0]}"


def shared_component(name: str) -> str:
    """Return the stack that makes a name without an environment: `cluster` or `registry`; "" for any other name."""
    if name in REGISTRY_NAMES or name.startswith(f"{MODEL_PACKAGE_GROUP}/"):
        return "registry"
    if name == CLUSTER_NAME or name.startswith((*CLUSTER_LOGS, f"{CLUSTER_NAME}/")):
        return "cluster"
    return ""


@dataclass(frozen=True)
class Scope:
    """The environment whose resources are searched, and what the account has of other environments."""

    environment: str
    others: frozenset[str] = frozenset()
    """Other environments of the account"""
    vpcs: frozenset[str] = frozenset()
    others_components: frozenset[str] = frozenset()
    """`cluster`, `registry`: stacks whose names without an environment belong to another environment"""

    @classmethod
    def from_resources(cls, environment: str, resources: Iterable[Resource]) -> Scope:
        """Make it from all resources; an environment exists when a tag, a stack or a lake has its name."""
        resources = list(resources)
        stacks = {r.name for r in resources if resource_type(r.arn) == "cloudformation:stack"}
        lakes = {r.name for r in resources if resource_type(r.arn) == "s3" and r.name.startswith(LAKES)}
        tagged = {r.tags.get("Environment", "") for r in resources if r.tags.get("Project") == PROJECT}
        named = {match[1] for name in stacks if (match := _STACK.fullmatch(name))}
        named |= {environment_in(name) for name in lakes}
        others = frozenset((tagged | named) - {environment, ""})
        others_components = frozenset(
            component
            for component in ("cluster", "registry")
            for other in others
            if f"mlops-retail-{other}-{component}" in stacks
            or any(shared_component(r.name) == component and environment_of(r.tags) == other for r in resources)
        )
        without_vpcs = cls(environment, others, frozenset(), others_components)
        vpcs = frozenset(r.vpc for r in resources if resource_type(r.arn) == "ec2:vpc" and without_vpcs.why(r))
        return cls(environment, others, vpcs, others_components)

    def why(self, resource: Resource) -> str:
        """Return why a resource belongs to the environment; "" when it does not. A tag is stronger than a name."""
        if tagged := environment_of(resource.tags):
            return f"tagged Environment={tagged}" if tagged == self.environment else ""
        cluster = cluster_of(resource.tags)
        if cluster == CLUSTER_NAME and "cluster" not in self.others_components:
            return f"made for cluster {cluster}"
        if resource.vpc in self.vpcs:
            return f"lies in {resource.vpc}"
        if component := shared_component(resource.name):
            return "" if component in self.others_components else "has a name that only this project gives"
        return self._why_by_name(resource)

    def _why_by_name(self, resource: Resource) -> str:
        named = environment_in(resource.name)
        if named == self.environment:
            return "is named after the environment"
        if named:
            return "" if named in self.others else "has the project's name, and no such other environment exists"
        if resource.tags.get("Project") == PROJECT:
            return f"tagged Project={PROJECT}, without an environment"
        return ""


@dataclass(frozen=True)
class Row:
    """A resource in the table; monthly: USD, None when its price is not known."""

    arn: str
    why: str
    monthly: float | None
    note: str = ""


@dataclass(frozen=True)
class Inventory:
    """left: what teardown has to delete; kept: what stays on purpose, each with the reason in `why`."""

    left: tuple[Row, ...]
    kept: tuple[Row, ...] = ()

    @property
    def monthly(self) -> float:
        """USD of what is left, as far as its price is known."""
        return sum(row.monthly or 0 for row in self.left)

    @property
    def cost(self) -> str:
        """The sum in words, with the date of the price table."""
        unknown = sum(row.monthly is None for row in self.left)
        more = f" and {unknown} without a known price" if unknown else ""
        return f"USD {self.monthly:,.2f} a month{more} (prices of {costs.prices().date})"


def take_inventory(resources: Iterable[Resource], scope: Scope, kept: Mapping[str, str]) -> Inventory:
    """Return the environment's resources, expensive ones first. kept: ARN → why it stays."""
    by_arn: dict[str, Resource] = {}
    for resource in resources:
        by_arn.setdefault(resource.arn, resource)
    left, stays = [], []
    for resource in by_arn.values():
        if reason := kept.get(resource.arn):
            stays.append(Row(resource.arn, reason, resource.monthly, resource.note))
        elif why := scope.why(resource):
            left.append(Row(resource.arn, why, resource.monthly, resource.note))
    return Inventory(tuple(sorted(left, key=_expensive_first)), tuple(sorted(stays, key=_expensive_first)))


def _expensive_first(row: Row) -> tuple[float, str]:
    return -(row.monthly if row.monthly is not None else float("inf")), row.arn


def table(rows: Iterable[Row], limit: int = MAX_ROWS) -> str:
    """Return a Markdown table: ARN, why, USD a month; "?" for a resource without a known price."""
    rows = list(rows)
    cells = [_cells(row) for row in rows[:limit]]
    if len(rows) > limit:
        rest = sum(row.monthly or 0 for row in rows[limit:])
        cells.append((f"and {len(rows) - limit} more", "", f"{rest:,.2f}"))
    return markdown_table(("ARN", "why", "USD a month"), cells, align="llr")


def _cells(row: Row) -> tuple[str, str, str]:
    price = "?" if row.monthly is None else f"{row.monthly:,.2f}"
    return row.arn, f"{row.why}; {row.note}" if row.note else row.why, price
