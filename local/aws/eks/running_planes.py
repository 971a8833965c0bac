"""The control planes that this process runs. `start` creates their one owner; everybody else asks `planes`."""

from collections.abc import Callable

from ministack.services import eks

from local.aws.eks.control_planes import Plane, Planes
from local.stack import config

_planes: list[Planes] = []
"""Empty before `start`, with one member afterwards."""


def start(stack: config.LocalStack, before_stop: Callable[[str], object]) -> None:
    """Create the owner of the control planes, once per process; before_stop gets the id of each plane that stops."""
    if _planes:
        raise RuntimeError("the control planes of this process have an owner already: call start() once")
    owner = Planes(stack, _issuer_of)
    owner.before_stop.append(before_stop)
    _planes.append(owner)


def _issuer_of(labels: dict[str, str]) -> str | None:
    cluster = eks._clusters.get_scoped(labels["account_id"], labels["region"], labels["cluster_name"])
    return cluster["identity"]["oidc"]["issuer"] if cluster else None


def planes() -> Planes:
    """Return the owner of the control planes. Raise RuntimeError before `start`."""
    if not _planes:
        raise RuntimeError("the control planes have no owner yet: call local.aws.patches.install() first")
    return _planes[0]


def plane_of(cluster: str) -> Plane | None:
    """Return the cluster's control plane if it runs."""
    plane = planes().planes.get(cluster)
    return plane if plane and plane.up else None
