"""The CloudFormation stacks of infra/: their order, and each with its template and parameters."""

import re
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.sts import StsHook

from include import templates
from include.settings import settings
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.stack_parameters import values
from retail_mlops.hooks.cloudformation import Stack

ORDER: Final = ("network", "lake", "registry", "identity", "cluster", "observability", "budget")
"""Each imports what earlier ones export."""
AUDIT: Final = "audit"
"""The stack that is made only when settings().audit says so; it comes last."""
_ASSUMED_ROLE = re.compile(r"arn:aws:sts::\d+:assumed-role/([^/]+)/.+")


def declared(template: str) -> dict[str, dict[str, Any]]:
    """Return the parameters that a template declares: name → its declaration."""
    parameters: dict[str, dict[str, Any]] = templates.read(template).get("Parameters", {})
    return parameters


def components() -> tuple[str, ...]:
    """Return the stacks of this environment, in the order in which they are made."""
    return (*ORDER, AUDIT) if settings().audit else ORDER


def stack_of(component: str, admin: str) -> Stack:
    """Return the stack of infra/<component>.yaml; RetailError when no setting fills one of its parameters."""
    path = ROOT / "infra" / f"{component}.yaml"
    template = path.read_text()
    available = values(admin)
    declarations = declared(template)
    if missing := declarations.keys() - available.keys():
        raise RetailError(f"infra/{path.name} needs {', '.join(sorted(missing))}: add it to common/stack_parameters.py")
    return Stack(
        name=settings().stack(component),
        template=template,
        parameters={name: available[name] for name in declarations},
        tags=settings().tags | {"Component": component},
    )


def principal(connection: str | None) -> str:
    """Return the IAM ARN of a connection's identity: a user's own, or the role behind an assumed one.

    Only IAM knows a role's path, which belongs to its ARN: those of IAM Identity Center have one.
    """
    arn: str = StsHook(aws_conn_id=connection, region_name=settings().region).conn.get_caller_identity()["Arn"]
    if match := _ASSUMED_ROLE.fullmatch(arn):
        iam = AwsBaseHook(aws_conn_id=connection, client_type="iam", region_name=settings().region).conn
        arn = iam.get_role(RoleName=match[1])["Role"]["Arn"]
    return arn
