"""Which environment, and which cluster, a resource of the account belongs to, by its tags and its name. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from include.settings import CLUSTER_NAME, PROJECT, settings

CLUSTER_TAGS: Final = (
    "eks:cluster-name",
    "aws:eks:cluster-name",
    "alpha.eksctl.io/cluster-name",
    "elbv2.k8s.aws/cluster",
    "cluster.k8s.amazonaws.com/name",
)
"""Tags whose value names the cluster that a resource was made for; the key `kubernetes.io/cluster/<name>` does, too."""
INGRESS_TAG: Final = "ingress.k8s.aws/stack"
"""Names the Ingress that its controller made a load balancer for."""
_CLUSTER_TAG_PREFIX: Final = "kubernetes.io/cluster/"
_NAMED: Final = re.compile(r"/?(?:mlops-retail|retail-mlops)[-/](?:(?:prediction|audit)-)?([a-z][a-z0-9]*)(?:[-/].*)?")


def cluster_of(tags: Mapping[str, str]) -> str:
    """Return the name of the cluster that a resource was made for; "" when no tag names one."""
    named = [key.removeprefix(_CLUSTER_TAG_PREFIX) for key in tags if key.startswith(_CLUSTER_TAG_PREFIX)]
    return next(iter([*named, *(tags[key] for key in CLUSTER_TAGS if key in tags)]), "")


def environment_of(tags: Mapping[str, str]) -> str:
    """Return the environment that the project's own tags name; "" when they name none."""
    return tags.get("Environment", "") if tags.get("Project") == PROJECT else ""


def environment_in(name: str) -> str:
    """Return the environment in a name of the project's form (mlops-retail-<environment>-…); "" in any other name."""
    match = _NAMED.fullmatch(name)
    return match[1] if match else ""


def is_ours(tags: Mapping[str, str]) -> bool:
    """Return whether tags name this project's cluster, or this environment."""
    return cluster_of(tags) == CLUSTER_NAME or environment_of(tags) == settings().environment
