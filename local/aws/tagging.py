"""List the tagged resources of services that ministack's tagging API leaves out: teardown's inventory asks for them."""

from collections.abc import Callable, Iterable
from typing import Final

from ministack.core import responses
from ministack.services import alb, cloudwatch, cloudwatch_logs, ec2, eks, tagging

from local.aws.patch import Patch, replace

Tags = list[dict[str, str]]
Tagged = Iterable[tuple[str, Tags]]
"""ARN and tags of each resource of the caller's account and region."""

_EC2_KINDS: Final = {
    "vpc": "vpc",
    "subnet": "subnet",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "sg": "security-group",
    "vpce": "vpc-endpoint",
    "i": "instance",
    "vol": "volume",
    "lt": "launch-template",
    "eipalloc": "elastic-ip",
    "nat": "natgateway",
}


def pairs(tags: dict[str, str]) -> Tags:
    """Return a dictionary of tags in the spelling of the API."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _has_ended(instance: str) -> bool:
    """Return whether an instance is terminated, or forgotten after that; its tags stay."""
    record = ec2._instances.get(instance)
    return record is None or record["State"]["Name"] in ("shutting-down", "terminated")


def _of_ec2() -> Tagged:
    prefix = f"arn:aws:ec2:{responses.get_region()}:{responses.get_account_id()}"
    for resource, tags in ec2._tags.items():
        kind = _EC2_KINDS.get(resource.partition("-")[0])
        if kind and not (kind == "instance" and _has_ended(resource)):
            yield f"{prefix}:{kind}/{resource}", tags


def _of_eks() -> Tagged:
    return ((arn, pairs(tags)) for arn, tags in eks._tags.items())


def _of_cloudwatch() -> Tagged:
    return ((arn, pairs(tags)) for arn, tags in cloudwatch._resource_tags.items())


def _of_logs() -> Tagged:
    groups = cloudwatch_logs._log_groups.values()
    return ((group["arn"].removesuffix(":*"), pairs(group["tags"])) for group in groups)


def _of_load_balancers() -> Tagged:
    return alb._tags.items()


def collector(service: str, tagged: Callable[[], Tagged]) -> Patch:
    """Return the patch that lists a service's resources; tagged is called in the caller's account and region."""
    reason = f"GetResources leaves out resources of {service}"
    return replace(tagging, "_COLLECTORS", tagged, reason, (service,))


PATCHES: Final = (
    collector("ec2", _of_ec2),
    collector("eks", _of_eks),
    collector("cloudwatch", _of_cloudwatch),
    collector("logs", _of_logs),
    collector("elasticloadbalancing", _of_load_balancers),
)
