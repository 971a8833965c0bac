"""Check requests against AWS's own model of SageMaker, which botocore ships."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

from local.aws.sagemaker.protocol import AwsError, invalid
from local.aws.sagemaker.store import Document
from local.stack import renewing


def validate(operation: str, request: Document) -> None:
    """Raise ValidationException for what AWS's own model of the operation refuses."""
    shape: Shape | None = model_of(operation).input_shape
    if shape is None:
        return
    report = ParamValidator().validate(request, shape)
    if report.has_errors():
        raise invalid(report.generate_report())
    violations = list(_violations(shape, request, ""))
    if violations:
        count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected: "
        raise invalid(count + "; ".join(violations))


@cache
def _service() -> ServiceModel:
    """Return the model of all operations; it takes 20 MB, so there is one."""
    return renewing.core().get_service_model("sagemaker")


@cache
def model_of(operation: str) -> OperationModel:
    """Return AWS's model of an operation. Raise UnknownOperationException if there is none."""
    service = _service()
    if operation not in service.operation_names:
        raise AwsError("UnknownOperationException", f"{operation} is not an operation of SageMaker")
    return service.operation_model(operation)


def _violations(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Yield what AWS's service refuses and botocore's validator accepts: sizes, ranges, patterns, enumerations."""
    if shape.type_name == "structure":
        for name in value.keys() & shape.members.keys():
            yield from _violations(shape.members[name], value[name], _member_path(path, name))
        return
    for constraint in [*_exceeded_limits(shape, value), *_mismatches(shape, value)]:
        yield f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {constraint}"
    if shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _violations(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _violations(shape.key, key, f"{path}.key")
            yield from _violations(shape.value, item, f"{path}.{key}.member")


def _exceeded_limits(shape: Any, value: Any) -> Iterator[str]:
    """Yield the limits of length or range that the value exceeds."""
    limits: Document = shape.metadata
    size, verb = value, "have value"
    if shape.type_name in ("string", "list", "map"):
        size, verb = len(value), "have length"
    if not isinstance(size, int | float):
        return
    if size < limits.get("min", size):
        yield f"{verb} greater than or equal to {limits['min']}"
    if size > limits.get("max", size):
        yield f"{verb} less than or equal to {limits['max']}"


def _mismatches(shape: Any, value: Any) -> Iterator[str]:
    """Yield the enumeration or the pattern that a text does not match."""
    if shape.type_name != "string":
        return
    pattern = shape.metadata.get("pattern")
    if shape.enum and value not in shape.enum:
        yield f"satisfy enum value set: [{', '.join(shape.enum)}]"
    elif pattern and (compiled := _compiled(pattern)) and not compiled.fullmatch(value):
        yield f"satisfy regular expression pattern: {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str] | None:
    """Return the pattern; None for one of Java that Python does not know, which is not checked."""
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _member_path(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member
