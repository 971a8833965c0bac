"""Network interfaces: they block the deletion of their subnet, and are listed by filter. ministack ignores both."""

from typing import Any

from ministack.services import ec2

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws.cloudformation import resources as cloudformation


def _blocking(subnet: str) -> list[str]:
    return [one["NetworkInterfaceId"] for one in ec2._network_interfaces.values() if one.get("SubnetId") == subnet]


def _refusal(subnet: str) -> str:
    return f"The subnet '{subnet}' has dependencies and cannot be deleted." if _blocking(subnet) else ""


FILTERS = {"vpc-id": "VpcId", "subnet-id": "SubnetId", "status": "Status"}
_describe = ec2._ACTION_MAP["DescribeNetworkInterfaces"]


def _describe_network_interfaces(parameters: dict[str, Any]) -> tuple:
    filters = ec2._parse_filters(parameters)
    if strange := filters.keys() - FILTERS.keys():
        return ec2._error("InvalidParameterValue", f"the embedded EC2 has no filter {', '.join(sorted(strange))}", 400)
    if not filters:
        return _describe(parameters)
    found = [
        one["NetworkInterfaceId"]
        for one in ec2._network_interfaces.values()
        if all(one.get(FILTERS[name]) in wanted for name, wanted in filters.items())
    ]
    asked = {f"NetworkInterfaceId.{number}": [name] for number, name in enumerate(found or ["none"], 1)}
    return _describe(asked)


ec2._ACTION_MAP["DescribeNetworkInterfaces"] = _describe_network_interfaces

_handlers = cloudformation.handlers("AWS::EC2::Subnet")
_stack_delete, _api_delete = _handlers["delete"], ec2._ACTION_MAP["DeleteSubnet"]


def _delete_in_stack(physical_id: str, properties: dict[str, Any]) -> None:
    if refusal := _refusal(physical_id):
        raise ValueError(f"{refusal} (DependencyViolation: {', '.join(_blocking(physical_id))})")
    _stack_delete(physical_id, properties)


def _delete_subnet(parameters: dict[str, Any]) -> tuple:
    subnet = ec2._p(parameters, "SubnetId")
    if refusal := _refusal(subnet):
        return ec2._error("DependencyViolation", refusal, 400)
    return _api_delete(parameters)


_handlers["delete"] = _delete_in_stack
ec2._ACTION_MAP["DeleteSubnet"] = _delete_subnet
