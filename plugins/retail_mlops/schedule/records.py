"""The cost schedule's core: what is recorded before the environment goes down, who may change it, and what it saves.

The record lies at `lake.SCALED_DOWN`. While it is there the environment is scaled down, or on its way; only the run
that it names as its owner may change it or the environment.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from include import costs, hours
from include.costs import Kind
from include.settings import settings

WAITING_TASK: Final = "wait_until_up"
"""The task of `deploy` that waits while the environment is scaled down."""
UNFINISHED: Final = (
    None,
    "scheduled",
    "queued",
    "running",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
)
"""States of a task instance that has something left to do."""
SERVERS_OWN: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort", "ipFamilies", "ipFamilyPolicy")
"""Fields of a Service's spec that the API server fills in."""


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeGroup(_Document):
    name: str
    minimum: int
    desired: int
    maximum: int

    def stopped(self) -> NodeGroup:
        """No node; AWS refuses a maximum of 0."""
        return self.model_copy(update={"minimum": 0, "desired": 0, "maximum": max(self.maximum, 1)})


class Workload(_Document):
    """A Deployment."""

    name: str
    replicas: int


class Autoscaler(_Document):
    """A HorizontalPodAutoscaler. It does nothing while its Deployment has 0 replicas, and needs no change."""

    name: str
    minimum: int
    maximum: int


class Instance(_Document):
    """An EC2 instance of ours that is not terminated."""

    id: str
    type: str
    state: str
    spot: bool = False
    node_group: str = ""
    """The one that started it, and takes it away."""


class Balancer(_Document):
    """An elastic load balancer of ours; addresses: how many public IPv4 addresses it has."""

    name: str
    addresses: int
    service: str = ""
    """The Kubernetes Service or Ingress that it was made for, and goes with."""


class Job(_Document):
    """A SageMaker job that runs and costs; it is listed, not stopped."""

    kind: str
    name: str
    since: AwareDatetime


class State(_Document):
    """The environment as it was before anything was changed."""

    node_groups: tuple[NodeGroup, ...] = ()
    workloads: tuple[Workload, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    """Manifests of the public endpoint: a Service, or an Ingress."""
    open_nodes: tuple[str, ...] = ()
    """Nodes that took pods."""
    release: str | None = None
    """The release that ran; its held-out baskets are the proof that it is back."""

    def __str__(self) -> str:
        return "; ".join(
            [
                *(f"node group {one.name} with {one.desired} nodes" for one in self.node_groups),
                *(f"Deployment {one.name} with {one.replicas} replicas" for one in self.workloads),
                *(f"autoscaler {one.name} of {one.minimum} to {one.maximum}" for one in self.autoscalers),
                *(f"endpoint {one['metadata']['name']}" for one in self.services),
                f"release {self.release or '(none)'}",
            ]
        )

    def with_new(self, live: State) -> State:
        """This state and what it does not know of a later look; what it knows stays as it was recorded.

        So the look at a half-stopped environment never replaces what was seen before.
        """
        return self.model_copy(
            update={
                "node_groups": _joined(self.node_groups, live.node_groups, _name),
                "workloads": _joined(self.workloads, live.workloads, _name),
                "autoscalers": _joined(self.autoscalers, live.autoscalers, _name),
                "services": _joined(self.services, live.services, identity),
                "open_nodes": tuple(dict.fromkeys((*self.open_nodes, *live.open_nodes))),
                "release": self.release or live.release,
            }
        )


def _name(thing: Any) -> str:
    return thing.name


def identity(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """(kind, name)."""
    return manifest["kind"], manifest["metadata"]["name"]


def _joined(known: Iterable[Any], seen: Iterable[Any], key: Any) -> tuple[Any, ...]:
    return tuple(({key(thing): thing for thing in seen} | {key(thing): thing for thing in known}).values())


class Saving(_Document):
    """What is not paid while the environment is off; note: why its price is not known."""

    what: str
    count: float
    usd_per_hour: float
    note: str = ""


class Phase(StrEnum):
    CLAIMED = "claimed"
    """A scale_down waits for its turn: nothing is recorded, nothing is changed."""
    GOING_DOWN = "going down"
    DOWN = "down"
    COMING_UP = "coming up"


class Record(_Document):
    phase: Phase
    owner: str
    """`dag/run id` of the run that may change the environment now."""
    state: State | None = None
    savings: tuple[Saving, ...] = ()
    jobs: tuple[Job, ...] = ()
    off_since: AwareDatetime | None = None
    """When it was proved that nothing runs any more."""
    planned_until: AwareDatetime | None = None
    on_since: AwareDatetime | None = None
    """When the first node was ordered again."""

    def taken(self, owner: str, phase: Phase) -> Self:
        """The record in the hands of another run; a record without a state is a claim, whoever holds it."""
        return self.model_copy(update={"owner": owner, "phase": phase if self.state else Phase.CLAIMED})

    def but(self, **changes: Any) -> Self:
        return self.model_copy(update=changes)


# --- what is recorded ---
def size_of(group: NodeGroup) -> NodeGroup:
    """What to record of a node group: its size, or for our own at 0 the size that its stack gives it.

    Nobody scales it to 0 but the schedule and the nightly backstop in EventBridge, which leaves no record.
    """
    if group.name == settings().nodegroup and group.desired == 0:
        return group.model_copy(update={"desired": min(settings().node_count, group.maximum)})
    return group


def is_stopped(groups: Iterable[NodeGroup]) -> bool:
    """Whether our own node group is at 0: without a record that was the backstop."""
    return any(size_of(group) != group for group in groups)


def bare(endpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest that makes a live Service or Ingress (camelCase) again, without what the cluster filled in."""
    about, spec = endpoint["metadata"], endpoint["spec"]
    annotations = {key: text for key, text in about.get("annotations", {}).items() if not key.startswith("kubectl.")}
    if endpoint["kind"] == "Service":
        ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in spec["ports"]]
        spec = {key: value for key, value in spec.items() if key not in SERVERS_OWN} | {"ports": ports}
    return {
        "apiVersion": endpoint["apiVersion"],
        "kind": endpoint["kind"],
        "metadata": {
            "name": about["name"],
            "namespace": about["namespace"],
            "labels": about.get("labels", {}),
            "annotations": annotations,
        },
        "spec": spec,
    }


def savings(instances: Iterable[Instance], balancers: Iterable[Balancer]) -> tuple[Saving, ...]:
    """What is paid an hour for what runs, in USD, by the price table of include/costs.py; disks of nodes are left out.

    A price that is not in the table is named and counted as 0: bookkeeping never keeps anything running.
    """
    nodes: dict[tuple[str, bool], int] = {}
    for one in instances:
        nodes[one.type, one.spot] = nodes.get((one.type, one.spot), 0) + 1
    found = [
        _priced(f"EC2 {kind}{' Spot' if spot else ''}", Kind.EC2_INSTANCE, kind, count, spot=spot)
        for (kind, spot), count in sorted(nodes.items())
    ]
    there = list(balancers)
    found.append(_priced("load balancer", Kind.LOAD_BALANCER, "", len(there)))
    found.append(_priced("public IPv4 address", Kind.PUBLIC_IPV4, "", sum(one.addresses for one in there)))
    return tuple(saving for saving in found if saving.count)


def _priced(what: str, kind: Kind, detail: str, count: int, **options: bool) -> Saving:
    try:
        return Saving(what=what, count=count, usd_per_hour=costs.hourly(kind, detail, count, **options))
    except ValueError as error:
        return Saving(what=what, count=count, usd_per_hour=0, note=str(error))


# --- who goes first ---
def releasing(deploys: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Run ids of `deploy` that may have changed the cluster and have not finished.

    deploys: run id → task id → state. A run that still waits at its first task sees our claim before it does anything;
    one whose first task is being run just now may have looked before the claim was there.
    """
    return sorted(
        run
        for run, tasks in deploys.items()
        if tasks.get(WAITING_TASK) in ("success", "running") and any(state in UNFINISHED for state in tasks.values())
    )


def rolling(deployments: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of Deployments (camelCase) whose rollout neither finished nor failed.

    Pods that have no node to run on do not count: they do not make a finished rollout unfinished.
    """
    return [one["metadata"]["name"] for one in deployments if _is_rolling(one)]


def _is_rolling(deployment: Mapping[str, Any]) -> bool:
    status = deployment.get("status", {})
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return True
    reasons = {one["type"]: one.get("reason") for one in status.get("conditions", [])}
    return reasons.get("Progressing") not in (None, "NewReplicaSetAvailable", "ProgressDeadlineExceeded")


def late(going: Literal["down", "up"], now: dt.datetime) -> str:
    """Why a scheduled run that starts now has come too late; nothing when its time is not over.

    The schedule's newest moment wins, however late a run starts: Airflow may have been down.
    """
    off = hours.are_off(now)
    if (going == "down") == off:
        return ""
    newest = (hours.down() if off else hours.up()).last(now)
    following = (hours.down() if going == "down" else hours.up()).next(now)
    return (
        f"too late: since {newest:%a %H:%M} the schedule wants the environment {'off' if off else 'on'} "
        f"(next scale_{going}: {following:%a %Y-%m-%d %H:%M})"
    )


# --- what is left ---
class Leftover(_Document):
    kind: str
    name: str
    why: str
    goes: bool = True
    """Whether it may still go by itself: EKS takes its own things away, and nothing else."""


def left(
    nodes: Iterable[str],
    instances: Iterable[Instance],
    balancers: Iterable[Balancer],
    endpoints: Iterable[Mapping[str, Any]],
) -> list[Leftover]:
    """All that has to be gone and is not. endpoints: objects of Kubernetes."""
    return [
        *(Leftover(kind="node", name=name, why="registered in the cluster") for name in nodes),
        *(
            Leftover(
                kind="EC2 instance",
                name=one.id,
                why=f"{one.type}, {one.state}, of node group {one.node_group or '(none)'}",
                goes=bool(one.node_group) or one.state == "shutting-down",
            )
            for one in instances
        ),
        *(Leftover(kind=kind, name=name, why="a public endpoint") for kind, name in map(identity, endpoints)),
        *(
            Leftover(
                kind="load balancer",
                name=one.name,
                why=f"of {one.service or 'no Service and no Ingress'}",
                goes=bool(one.service),
            )
            for one in balancers
        ),
    ]


def table(leftovers: Iterable[Leftover]) -> str:
    rows = [("what", "name", "why"), *((one.kind, one.name, one.why) for one in leftovers)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


# --- hours and money ---
PLANNED, ACTUAL = "planned", "actual"


@dataclass(frozen=True)
class TimeOff:
    """A time in which the environment is off, and what is not paid during it. It is known by its beginning."""

    start: dt.datetime
    end: dt.datetime
    planned_end: dt.datetime
    basis: str
    """planned or actual: which of the two the end is."""
    savings: tuple[Saving, ...]
    run: str

    @property
    def hours(self) -> float:
        return max(0.0, (self.end - self.start).total_seconds() / 3600)

    @property
    def usd_per_hour(self) -> float:
        return sum(saving.usd_per_hour for saving in self.savings)

    @property
    def days(self) -> list[dt.date]:
        """The local days whose files change: those of the time off, and those that were planned to be of it."""
        return sorted({*hours.by_day(self.start, self.end), *hours.by_day(self.start, self.planned_end)})


def time_off(record: Record) -> TimeOff | None:
    """None when it is not known since when nothing runs."""
    if record.off_since is None or record.planned_until is None:
        return None
    return TimeOff(
        start=record.off_since,
        end=record.on_since or record.planned_until,
        planned_end=record.planned_until,
        basis=ACTUAL if record.on_since else PLANNED,
        savings=record.savings,
        run=record.owner,
    )


def _since(off: TimeOff) -> str:
    return off.start.astimezone(hours.ZONE).isoformat(timespec="seconds")


def account(document: dict[str, Any] | None, off: TimeOff, day: dt.date) -> dict[str, Any]:
    """A day's file with this time off in it; document: the file as it is.

    Writing a time off again, with its actual end instead of the planned one, replaces it.
    """
    known = [one for one in (document or {}).get("off", []) if one["since"] != _since(off)]
    if count := hours.by_day(off.start, off.end).get(day):
        known.append(
            {
                "since": _since(off),
                "until": off.end.astimezone(hours.ZONE).isoformat(timespec="seconds"),
                "basis": off.basis,
                "hours": round(count, 4),
                "usd_per_hour": round(off.usd_per_hour, 6),
                "saved_usd": round(count * off.usd_per_hour, 4),
                "savings": [saving.model_dump() for saving in off.savings],
                "run": off.run,
            }
        )
    return {
        "date": day.isoformat(),
        "environment": settings().environment,
        "hours_off": round(sum(one["hours"] for one in known), 4),
        "saved_usd": round(sum(one["saved_usd"] for one in known), 4),
        "prices": {"date": costs.prices().date, "source": costs.prices().source},
        "off": sorted(known, key=lambda one: one["since"]),
    }


def is_accounted(document: dict[str, Any] | None, off: TimeOff) -> bool:
    """Whether the file of its first day has this time off already, with its actual end."""
    return any(one["since"] == _since(off) and one["basis"] == ACTUAL for one in (document or {}).get("off", []))
