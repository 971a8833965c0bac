"""The stacks of infra/: their order, and which setting fills which parameter."""

import re
from typing import Any, Final

import yaml
from airflow.providers.amazon.aws.hooks.sts import StsHook

from include.settings import settings
from retail_mlops.dag_defaults import ROOT
from retail_mlops.errors import RetailError
from retail_mlops.hooks.cloudformation import Stack

ORDER: Final = ("network", "lake", "registry", "identity", "cluster")
_ASSUMED_ROLE = re.compile(r"arn:aws:sts::(\d+):assumed-role/([^/]+)/.+")


class _Template(yaml.SafeLoader):
    """Reads a template's outline; CloudFormation's own tags (!Ref, !Sub …) are of no interest here."""


_Template.add_multi_constructor("!", lambda loader, suffix, node: None)


def declared(template: str) -> dict[str, dict[str, Any]]:
    """The parameters that a template declares: name → its declaration."""
    return yaml.load(template, Loader=_Template).get("Parameters", {})  # noqa: S506 - a safe loader with more tags


def values(admin: str) -> dict[str, str]:
    """All parameters that the project's settings give; admin: ARN of the person's user or role."""
    ours = settings()
    return {
        "Environment": ours.environment,
        "Owner": ours.owner,
        "CostCenter": ours.cost_center,
        "AdminPrincipalArn": admin,
        "KubernetesVersion": ours.kubernetes_version,
        "NodeInstanceTypes": ours.node_instance_types,
        "NodeCount": str(ours.node_count),
        "ClusterCidrs": ours.cluster_cidrs,
    }


def stack(component: str, admin: str) -> Stack:
    """The stack of infra/<component>.yaml; RetailError when it needs a parameter that nothing fills."""
    path = ROOT / "infra" / f"{component}.yaml"
    template, given = path.read_text(), values(admin)
    wanted = declared(template)
    if missing := [name for name, text in wanted.items() if name not in given and "Default" not in text]:
        raise RetailError(f"infra/{path.name} needs {', '.join(missing)}: name the setting in stacks.values")
    return Stack(
        name=settings().stack(component),
        template=template,
        parameters={name: given[name] for name in wanted if name in given},
        tags=settings().tags | {"Component": component},
    )


def principal(connection: str) -> str:
    """IAM ARN of who a connection is: a user's own, or the role behind an assumed one."""
    arn = StsHook(aws_conn_id=connection, region_name=settings().region).conn.get_caller_identity()["Arn"]
    if match := _ASSUMED_ROLE.fullmatch(arn):
        return f"arn:aws:iam::{match[1]}:role/{match[2]}"
    return arn
