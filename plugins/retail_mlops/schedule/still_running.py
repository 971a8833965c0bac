"""What still runs, and costs, after scale_down has stopped everything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from retail_mlops.common.api_manifests import kind_and_name
from retail_mlops.common.tables import markdown_table
from retail_mlops.schedule.running_resources import Balancer, Instance


@dataclass(frozen=True)
class Leftover:
    """Something that has to be gone and is not."""

    kind: str
    name: str
    why: str
    goes_by_itself: bool = True
    """Whether it may still go: EKS takes its own resources away, and nothing else."""


def find_leftovers(
    nodes: Iterable[str],
    instances: Iterable[Instance],
    balancers: Iterable[Balancer],
    endpoints: Iterable[Mapping[str, Any]],
) -> list[Leftover]:
    """Return all that has to be gone and is not; endpoints: objects of Kubernetes."""
    return [
        *(Leftover("node", name, "registered in the cluster") for name in nodes),
        *(
            Leftover(
                "EC2 instance",
                instance.id,
                f"{instance.type}, {instance.state}, of node group {instance.node_group or '(none)'}",
                goes_by_itself=bool(instance.node_group) or instance.state == "shutting-down",
            )
            for instance in instances
        ),
        *(Leftover(kind, name, "a public endpoint") for kind, name in map(kind_and_name, endpoints)),
        *(
            Leftover(
                "load balancer",
                balancer.name,
                f"of {balancer.service or 'no Service and no Ingress'}",
                goes_by_itself=bool(balancer.service),
            )
            for balancer in balancers
        ),
    ]


def table(leftovers: Iterable[Leftover]) -> str:
    rows = ((leftover.kind, leftover.name, leftover.why) for leftover in leftovers)
    return markdown_table(("what", "name", "why"), rows)
