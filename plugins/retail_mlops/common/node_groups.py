"""The size of an EKS node group, and whether the group is stopped. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from include.settings import settings


class NodeGroup(BaseModel):
    """A node group with its minimum, desired and maximum number of nodes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    minimum: int
    desired: int
    maximum: int

    def stopped(self) -> NodeGroup:
        """Return the group without any node; AWS refuses a maximum of 0."""
        return self.model_copy(update={"minimum": 0, "desired": 0, "maximum": max(self.maximum, 1)})


def size_to_restore(group: NodeGroup) -> NodeGroup:
    """Return the size to restore later: the group's own; for the project's group at 0, the size in its stack.

    Only the schedule and the nightly backstop in EventBridge set it to 0, and the backstop leaves no record.
    """
    if group.name == settings().nodegroup and group.desired == 0:
        return group.model_copy(update={"desired": min(settings().node_count, group.maximum)})
    return group


def is_stopped(groups: Iterable[NodeGroup]) -> bool:
    """Return whether the project's node group is at 0 nodes."""
    return any(size_to_restore(group) != group for group in groups)
