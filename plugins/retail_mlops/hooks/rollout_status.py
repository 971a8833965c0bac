"""How far a Deployment's rollout is, from its status: the rules of `kubectl rollout status`, and two more. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

UNRECOVERABLE: Final = frozenset({"CrashLoopBackOff", "ImagePullBackOff", "InvalidImageName"})
"""Reasons for which a container waits in vain: it was tried more than once already."""


class Phase(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """How far a rollout is, with the same in words."""

    phase: Phase
    text: str


def progress(deployment: dict[str, Any], terminating: int = 0) -> Progress:
    """Return how far the rollout is; deployment: as the API server gives it (camelCase); terminating: number of pods.

    `kubectl rollout status` does not wait for terminating pods: they drain, and may answer for the version before.
    """
    spec, status = deployment["spec"], deployment.get("status", {})
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return Progress(Phase.WAITING, "the controller has not seen the new version yet")
    for condition in status.get("conditions", []):
        if condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return Progress(Phase.FAILED, condition.get("message", "ProgressDeadlineExceeded"))
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted:
        return Progress(Phase.WAITING, f"{updated} of {wanted} pods are of the new version")
    if total > updated:
        return Progress(Phase.WAITING, f"{total - updated} pods of the old version have not ended")
    if available < updated:
        return Progress(Phase.WAITING, f"{available} of {updated} new pods are available")
    if terminating:
        return Progress(Phase.WAITING, f"{terminating} pods of the old version still drain")
    return Progress(Phase.DONE, f"{available} of {wanted} pods of the new version are available")


def is_unrecoverable(pod: dict[str, Any], template: dict[str, Any]) -> bool:
    """Return whether a pod made from this template will never start, minutes before the Deployment's own deadline.

    Both as the API server gives them. A pod of another release is not evidence about this rollout.
    """
    made_from = template.get("metadata", {}).get("annotations", {})
    if not made_from.items() <= pod["metadata"].get("annotations", {}).items():
        return False
    statuses = pod.get("status", {}).get("containerStatuses", [])
    waiting = [status.get("state", {}).get("waiting") or {} for status in statuses]
    return any(state.get("reason") in UNRECOVERABLE for state in waiting)
