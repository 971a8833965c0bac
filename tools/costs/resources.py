"""Rows of the cost page that the templates of infra/ make."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include import costs, templates
from include.costs import Kind
from include.settings import settings
from retail_mlops.common.stack_parameters import values
from tools.costs.scenarios import Line, Lives, Scenario, line

ROOT: Final = Path(__file__).resolve().parents[2]

OPTIONAL: Final = ("audit",)
"""Stacks that are made only when a setting asks for them: not counted."""


@dataclass(frozen=True)
class Resource:
    """A resource that the templates make when the settings fill their parameters."""

    stack: str
    name: str
    type: str
    properties: dict[str, Any]


def resources() -> list[Resource]:
    """Return the resources of all templates whose conditions hold with the settings."""
    found = []
    parameters = values(admin="")
    for path in sorted((ROOT / "infra").glob("*.yaml")):
        if path.stem in OPTIONAL:
            continue
        template = templates.read(path.read_text())
        for name, resource in template["Resources"].items():
            condition = resource.get("Condition")
            if condition is None or _holds(template["Conditions"][condition], parameters):
                found.append(Resource(path.stem, name, resource["Type"], resource.get("Properties", {})))
    return found


def _holds(condition: dict[str, Any], parameters: dict[str, str]) -> bool:
    """Return whether a condition holds. Raise ValueError for a function that is not known here."""
    ((function, arguments),) = condition.items()
    if function == "Equals":
        left, right = (parameters[value["Ref"]] if isinstance(value, dict) else value for value in arguments)
        return bool(left == right)
    if function == "Not":
        return not _holds(arguments[0], parameters)
    raise ValueError(f"tools/costs/resources.py does not know the condition {condition}: extend _holds")


def _endpoint(resource: Resource) -> Iterator[Line]:
    if resource.properties.get("VpcEndpointType") == "Interface":
        zones = len(resource.properties["SubnetIds"])
        each = costs.hourly(Kind.INTERFACE_ENDPOINT, count=zones)
        yield line("interface endpoints", f"1 in {zones} zones", Lives.WHILE_THERE, each)


def _nodes(resource: Resource) -> Iterator[Line]:
    count = settings().node_count
    instance = settings().node_instance_types.split(",")[0]
    spot = settings().node_capacity == "SPOT"
    price = costs.hourly(Kind.EC2_INSTANCE, instance, count, spot=spot)
    yield line(f"nodes {instance}{' Spot' if spot else ''}", str(count), Lives.WHILE_UP, price)


def _disks(resource: Resource) -> Iterator[Line]:
    (device,) = resource.properties["LaunchTemplateData"]["BlockDeviceMappings"]
    size = device["Ebs"]["VolumeSize"]
    count = settings().node_count
    price = costs.hourly(Kind.EBS_GP3_GB, count=count * size)
    yield line("disks of nodes, gp3", f"{count} × {size} GB", Lives.WHILE_UP, price)


def _each(what: str, kind: Kind) -> Callable[[Resource], Iterator[Line]]:
    """Return what makes the row of a resource that has one price."""

    def lines(_: Resource) -> Iterator[Line]:
        yield line(what, "1", Lives.WHILE_THERE, costs.hourly(kind))

    return lines


PRICED: Final[dict[str, Callable[[Resource], Iterator[Line]]]] = {
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::EKS::Cluster": _each("EKS control plane", Kind.EKS_CLUSTER),
    "AWS::EKS::Nodegroup": _nodes,
    "AWS::EC2::LaunchTemplate": _disks,
    "AWS::CloudWatch::Alarm": _each("alarms", Kind.ALARM),
    "AWS::CloudWatch::CompositeAlarm": _each("alarms", Kind.ALARM),
    "AWS::CloudWatch::Dashboard": _each("dashboards", Kind.DASHBOARD),
    "AWS::KMS::Key": _each("KMS keys", Kind.KMS_KEY),
    "AWS::EC2::EIP": _each("elastic IP addresses", Kind.PUBLIC_IPV4),
}
FREE: Final = (
    "AWS::IAM::",
    "AWS::Budgets::Budget",  # without actions
    "AWS::CloudTrail::Trail",  # an account's first trail of management events
    "AWS::CloudWatch::InsightRule",
    "AWS::EC2::",  # networks and templates; what is paid stands above
    "AWS::ECR::Repository",  # its gigabytes are assumed
    "AWS::EKS::",  # access entries and these add-ons
    "AWS::Events::",
    "AWS::KMS::Alias",
    "AWS::Logs::",  # their gigabytes are assumed
    "AWS::S3::",  # so are these
    "AWS::SNS::",  # a few messages a month
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::Scheduler::",  # the first 14 million calls of a month
)
"""Types, or beginnings of types, that cost nothing to have."""
NOT_FREE: Final = ("AWS::EC2::NatGateway", "AWS::EC2::Instance", "AWS::EC2::Volume")


def from_templates() -> list[Line]:
    """Return the rows of what the templates make, equal resources as one. Raise ValueError for a type without price."""
    rows: dict[str, list[Line]] = {}
    for resource in resources():
        if price := PRICED.get(resource.type):
            for row in price(resource):
                rows.setdefault(row.what, []).append(row)
        elif resource.type in NOT_FREE or not resource.type.startswith(FREE):
            raise ValueError(
                f"{resource.type} ({resource.name} of infra/{resource.stack}.yaml) has no price: "
                "add it to PRICED or FREE in tools/costs/resources.py"
            )
    return [_sum(lines) for lines in rows.values()]


def _sum(lines: list[Line]) -> Line:
    first = lines[0]
    if len(lines) == 1:
        return first
    usd = {scenario: sum(row.usd[scenario] for row in lines) for scenario in Scenario}
    quantity = f"{len(lines)} × {first.quantity}" if first.quantity != "1" else str(len(lines))
    return Line(first.what, quantity, sum(row.usd_an_hour for row in lines), usd)
