"""What counts as an environment's, what of it is left, and what that costs a month. Pure: listings in, a table out.

One account may hold several environments. Most names carry their environment; those of the repositories, the model
package group, the cluster and what EKS names after the cluster do not (docs/decisions/0006): they are of the
environment whose tag they carry, and without a tag of the one whose stack could have made them.
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

CLUSTER_TAGS: Final = (
    "eks:cluster-name",
    "aws:eks:cluster-name",
    "alpha.eksctl.io/cluster-name",
    "elbv2.k8s.aws/cluster",
    "cluster.k8s.amazonaws.com/name",
)
"""Tags whose value is the name of the cluster that a thing was made for; `kubernetes.io/cluster/<name>` is another."""
INGRESS_TAG: Final = "ingress.k8s.aws/stack"
"""Names the Ingress that its controller made a load balancer of."""
CLUSTER_LOGS: Final = (f"/aws/eks/{CLUSTER_NAME}/", f"/aws/containerinsights/{CLUSTER_NAME}/")
REGISTRY_NAMES: Final = (API_REPOSITORY, CONTROLLER_REPOSITORY, JOBS_REPOSITORY, MODEL_PACKAGE_GROUP)
LAKES: Final = "mlops-retail-prediction-"
_NAMED: Final = re.compile(r"/?(?:mlops-retail|retail-mlops)[-/](?:(?:prediction|audit)-)?([a-z][a-z0-9]*)(?:[-/].*)?")
_STACK: Final = re.compile(r"mlops-retail-([a-z][a-z0-9]{1,11})-[a-z]+")
SHOWN: Final = 300
"""Rows of a table; the rest is counted."""


@dataclass(frozen=True)
class Resource:
    """A thing that AWS lists. kind, detail, count: what `include.costs` asks a price for."""

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


def sort_of(arn: str) -> str:
    """Service and type of an ARN: `ec2:vpc`, `logs:log-group`; of S3 and SNS, whose ARNs name no type, the service."""
    service, rest = arn.split(":", 5)[2], arn.split(":", 5)[5]
    return service if service in ("s3", "sns") else f"{service}:{re.split('[:/]', rest)[0]}"


def environment_in(name: str) -> str:
    """The environment that a name of the project's form carries: mlops-retail-<it>-…, /retail-mlops/<it>/…; or ""."""
    found = _NAMED.fullmatch(name)
    return found[1] if found else ""


def shared(name: str) -> str:
    """`cluster` or `registry` for a name that carries no environment, after the stack that makes it; or ""."""
    if name in REGISTRY_NAMES or name.startswith(f"{MODEL_PACKAGE_GROUP}/"):
        return "registry"
    if name == CLUSTER_NAME or name.startswith((*CLUSTER_LOGS, f"{CLUSTER_NAME}/")):
        return "cluster"
    return ""


def cluster_in(tags: Mapping[str, str]) -> str:
    """Name of the cluster that a thing was made for, by its tags; or ""."""
    named = [key.removeprefix("kubernetes.io/cluster/") for key in tags if key.startswith("kubernetes.io/cluster/")]
    return next(iter([*named, *(tags[key] for key in CLUSTER_TAGS if key in tags)]), "")


def environment_of(tags: Mapping[str, str]) -> str:
    """The environment that the project's own tags name; or ""."""
    return tags.get("Environment", "") if tags.get("Project") == PROJECT else ""


@dataclass(frozen=True)
class Scope:
    """Whose things are looked for, and what the account shows of other environments."""

    environment: str
    others: frozenset[str] = frozenset()
    vpcs: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    """`cluster`, `registry`: names without an environment that are another environment's"""

    @classmethod
    def of(cls, environment: str, resources: Iterable[Resource]) -> Scope:
        """An environment is there when a tag names it, a stack is called after it, or a lake is."""
        resources = list(resources)
        stacks = {r.name for r in resources if sort_of(r.arn) == "cloudformation:stack"}
        lakes = {r.name for r in resources if sort_of(r.arn) == "s3" and r.name.startswith(LAKES)}
        tagged = {r.tags.get("Environment", "") for r in resources if r.tags.get("Project") == PROJECT}
        named = {found[1] for name in stacks if (found := _STACK.fullmatch(name))} | {environment_in(x) for x in lakes}
        others = frozenset((tagged | named) - {environment, ""})
        taken = {
            component
            for component in ("cluster", "registry")
            for other in others
            if f"mlops-retail-{other}-{component}" in stacks
            or any(shared(r.name) == component and environment_of(r.tags) == other for r in resources)
        }
        alone = cls(environment, others, frozenset(), frozenset(taken))
        vpcs = frozenset(r.vpc for r in resources if sort_of(r.arn) == "ec2:vpc" and alone.why(r))
        return cls(environment, others, vpcs, frozenset(taken))

    def why(self, resource: Resource) -> str:
        """Why a thing counts as the environment's; "" when it does not. A tag is stronger than a name."""
        if says := environment_of(resource.tags):
            return f"tagged Environment={says}" if says == self.environment else ""
        cluster = cluster_in(resource.tags)
        if cluster == CLUSTER_NAME and "cluster" not in self.taken:
            return f"made for cluster {cluster}"
        if resource.vpc in self.vpcs:
            return f"lies in {resource.vpc}"
        if component := shared(resource.name):
            return "" if component in self.taken else "has a name that only this project gives"
        named = environment_in(resource.name)
        if named == self.environment:
            return "is named after the environment"
        if named:
            return "" if named in self.others else "bears the project's name, and no such other environment is there"
        if resource.tags.get("Project") == PROJECT:
            return f"tagged Project={PROJECT}, without an environment"
        return ""


@dataclass(frozen=True)
class Row:
    arn: str
    why: str
    monthly: float | None
    note: str = ""


@dataclass(frozen=True)
class Inventory:
    """left: what teardown has to make go away; kept: what stays on purpose, each with the reason in `why`."""

    left: tuple[Row, ...]
    kept: tuple[Row, ...] = ()

    @property
    def monthly(self) -> float:
        """USD of what is left, as far as it has a price."""
        return sum(row.monthly or 0 for row in self.left)

    @property
    def cost(self) -> str:
        """The sum in words, with the price table's date."""
        unknown = sum(row.monthly is None for row in self.left)
        more = f" and {unknown} without a known price" if unknown else ""
        return f"USD {self.monthly:,.2f} a month{more} (prices of {costs.prices().date})"


def split(resources: Iterable[Resource], scope: Scope, kept: Mapping[str, str]) -> Inventory:
    """The environment's things, dear ones first. kept: ARN → why it stays."""
    found: dict[str, Resource] = {}
    for resource in resources:
        found.setdefault(resource.arn, resource)
    left, stays = [], []
    for resource in found.values():
        if reason := kept.get(resource.arn):
            stays.append(Row(resource.arn, reason, resource.monthly, resource.note))
        elif why := scope.why(resource):
            left.append(Row(resource.arn, why, resource.monthly, resource.note))
    return Inventory(tuple(sorted(left, key=_dear_first)), tuple(sorted(stays, key=_dear_first)))


def _dear_first(row: Row) -> tuple[float, str]:
    return -(row.monthly if row.monthly is not None else float("inf")), row.arn


def table(rows: Iterable[Row], shown: int = SHOWN) -> str:
    """Markdown: ARN, why, USD a month; "?" for what has no known price."""
    rows = list(rows)
    lines = ["| ARN | why | USD a month |", "|---|---|---:|"]
    for row in rows[:shown]:
        price = "?" if row.monthly is None else f"{row.monthly:,.2f}"
        lines.append(f"| {row.arn} | {row.why}{f'; {row.note}' if row.note else ''} | {price} |")
    if len(rows) > shown:
        rest = sum(row.monthly or 0 for row in rows[shown:])
        lines.append(f"| and {len(rows) - shown} more | | {rest:,.2f} |")
    return "\n".join(lines)
