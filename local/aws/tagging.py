"""The Resource Groups Tagging API lists services that ministack leaves out: what teardown's inventory asks for."""

from collections.abc import Callable, Iterable

from ministack.core import responses
from ministack.services import alb, cloudwatch, cloudwatch_logs, ec2, eks, tagging

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below

Tags = list[dict[str, str]]
Tagged = Iterable[tuple[str, Tags]]
"""ARN and tags of each resource of the caller's account and region."""

_EC2_KINDS = {
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
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def _has_ended(instance: str) -> bool:
    """Terminated, or forgotten after that; its tags stay."""
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


def collect(service: str, tagged: Callable[[], Tagged]) -> None:
    """List one more service's resources; tagged is called in the scope of the caller's account and region."""
    tagging._COLLECTORS[service] = tagged


for _service, _tagged in {
    "ec2": _of_ec2,
    "eks": _of_eks,
    "cloudwatch": _of_cloudwatch,
    "logs": _of_logs,
    "elasticloadbalancing": _of_load_balancers,
}.items():
    collect(_service, _tagged)
