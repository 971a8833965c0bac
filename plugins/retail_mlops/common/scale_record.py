"""The record of a scaled-down environment: what it was before, which run may change it now, and what it saves.

The record is the object at `lake.SCALED_DOWN`. While it exists the environment is scaled down, or on its way; only the
run that it names as its owner may change it, or the environment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict

from retail_mlops.common.api_manifests import kind_and_name
from retail_mlops.common.node_groups import NodeGroup

Item = TypeVar("Item")
WAITING_TASK: Final = "wait_until_scaled_up"
"""The task of `deploy` that waits while the environment is scaled down."""


class Document(BaseModel):
    """A part of the record: frozen, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Workload(Document):
    """A Deployment."""

    name: str
    replicas: int


class Autoscaler(Document):
    """A HorizontalPodAutoscaler. It does nothing while its Deployment has 0 replicas, and needs no change."""

    name: str
    minimum: int
    maximum: int


class Job(Document):
    """A SageMaker job that runs and costs; it is listed, not stopped."""

    kind: str
    name: str
    since: AwareDatetime


class State(Document):
    """The environment as it was before anything was changed."""

    node_groups: tuple[NodeGroup, ...] = ()
    workloads: tuple[Workload, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    services: tuple[dict[str, Any], ...] = ()
    """Manifests of the public endpoint: a Service, or an Ingress."""
    open_nodes: tuple[str, ...] = ()
    """Nodes that accepted new pods."""
    release: str | None = None
    """The release that ran; replaying its held-out baskets proves that it is back."""

    def __str__(self) -> str:
        return "; ".join(
            [
                *(f"node group {group.name} with {group.desired} nodes" for group in self.node_groups),
                *(f"Deployment {workload.name} with {workload.replicas} replicas" for workload in self.workloads),
                *(f"autoscaler {scaler.name} of {scaler.minimum} to {scaler.maximum}" for scaler in self.autoscalers),
                *(f"endpoint {service['metadata']['name']}" for service in self.services),
                f"release {self.release or '(none)'}",
            ]
        )

    def with_new(self, live: State) -> State:
        """Return this state with what a later look found in addition; what is recorded already stays.

        So a look at a half-stopped environment never replaces the first one.
        """
        return self.model_copy(
            update={
                "node_groups": _merged(self.node_groups, live.node_groups, lambda group: group.name),
                "workloads": _merged(self.workloads, live.workloads, lambda workload: workload.name),
                "autoscalers": _merged(self.autoscalers, live.autoscalers, lambda scaler: scaler.name),
                "services": _merged(self.services, live.services, kind_and_name),
                "open_nodes": tuple(dict.fromkeys((*self.open_nodes, *live.open_nodes))),
                "release": self.release or live.release,
            }
        )


def _merged(recorded: Iterable[Item], live: Iterable[Item], key: Callable[[Item], Hashable]) -> tuple[Item, ...]:
    """Return the recorded items and the live ones of other keys, in the order of the live ones."""
    by_key = {key(item): item for item in live} | {key(item): item for item in recorded}
    return tuple(by_key.values())


class Saving(Document):
    """What is not paid while the environment is off; note: why its price is not known."""

    what: str
    count: float
    usd_per_hour: float
    note: str = ""


class Phase(StrEnum):
    CLAIMED = "claimed"
    """A scale_down waits for its turn: nothing is recorded yet, and nothing is changed."""
    GOING_DOWN = "going down"
    DOWN = "down"
    COMING_UP = "coming up"


class Record(Document):
    """The object at `lake.SCALED_DOWN`."""

    phase: Phase
    owner: str
    """`dag/run id` of the run that may change the environment now."""
    state: State | None = None
    savings: tuple[Saving, ...] = ()
    jobs: tuple[Job, ...] = ()
    off_since: AwareDatetime | None = None
    """When it was verified that nothing runs any more."""
    planned_until: AwareDatetime | None = None
    on_since: AwareDatetime | None = None
    """When the first node was ordered again."""

    def with_owner(self, owner: str, phase: Phase) -> Self:
        """Return the record for another run; a record without a state is a claim, whoever owns it."""
        return self.model_copy(update={"owner": owner, "phase": phase if self.state else Phase.CLAIMED})

    @property
    def recorded_state(self) -> State:
        """The state; ValueError for a claim, which has none."""
        if self.state is None:
            raise ValueError(f"the record of {self.owner} is a claim and has no state")
        return self.state
