"""Network interfaces: they block the deletion of their subnet, and can be listed by filter."""

from collections.abc import Callable
from typing import Any, Final

from ministack.services import ec2

from local.aws.cloudformation.handlers import Properties, wrap_handler
from local.aws.patch import Response, wrap

FILTERS: Final = {"vpc-id": "VpcId", "subnet-id": "SubnetId", "status": "Status"}
Parameters = dict[str, Any]


def _interfaces_in(subnet: str) -> list[str]:
    return [
        interface["NetworkInterfaceId"]
        for interface in ec2._network_interfaces.values()
        if interface.get("SubnetId") == subnet
    ]


def _refusal(subnet: str) -> str:
    return f"The subnet '{subnet}' has dependencies and cannot be deleted." if _interfaces_in(subnet) else ""


def _describe_network_interfaces(describe: Callable[[Parameters], Response], parameters: Parameters) -> Response:
    filters = ec2._parse_filters(parameters)
    unknown = sorted(filters.keys() - FILTERS.keys())
    if unknown:
        message = f"the EC2 emulation knows the filters {', '.join(FILTERS)}, not {', '.join(unknown)}"
        return ec2._error("InvalidParameterValue", message, 400)
    if not filters:
        return describe(parameters)
    matching = [
        interface["NetworkInterfaceId"]
        for interface in ec2._network_interfaces.values()
        if all(interface.get(FILTERS[name]) in values for name, values in filters.items())
    ]
    return describe({f"NetworkInterfaceId.{number}": [name] for number, name in enumerate(matching or ["none"], 1)})


def _delete_in_stack(delete: Callable[[str, Properties], None], physical_id: str, properties: Properties) -> None:
    if refusal := _refusal(physical_id):
        raise ValueError(f"{refusal} (DependencyViolation: {', '.join(_interfaces_in(physical_id))})")
    delete(physical_id, properties)


def _delete_subnet(delete: Callable[[Parameters], Response], parameters: Parameters) -> Response:
    if refusal := _refusal(ec2._p(parameters, "SubnetId")):
        return ec2._error("DependencyViolation", refusal, 400)
    return delete(parameters)


_ACTIONS: Final = "_ACTION_MAP"

PATCHES: Final = (
    wrap(ec2, _ACTIONS, _describe_network_interfaces, "filters are ignored", ("DescribeNetworkInterfaces",)),
    wrap(ec2, _ACTIONS, _delete_subnet, "a subnet is deleted with interfaces in it; AWS refuses", ("DeleteSubnet",)),
    wrap_handler("AWS::EC2::Subnet", "delete", _delete_in_stack, "a subnet is deleted with interfaces in it"),
)
