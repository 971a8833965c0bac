"""The protocol of the embedded SageMaker: AWS's errors, requests held against AWS's own model, paging, tags."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.validate import ParamValidator

from local.aws.sagemaker.store import Document, Store
from local.stack import renewing

DEFAULT_PAGE: Final = 10
TAGS_PAGE: Final = 50


class ApiError(Exception):
    """An answer as AWS gives it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


@dataclass(frozen=True)
class Call:
    """A request that is authorised and valid; identity: who made it, as IamIdentity of UserContext."""

    operation: str
    request: Document
    region: str
    account: str
    identity: Document = field(default_factory=dict)

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"

    @property
    def user(self) -> Document:
        return {"IamIdentity": self.identity} if self.identity else {}


Operation = Callable[[Call], Document]


def now() -> float:
    """Seconds since the epoch: how JSON of AWS carries a timestamp."""
    return round(time.time(), 3)


# --- validation -------------------------------------------------------------------------------
@cache
def _service() -> ServiceModel:
    """The model of all operations: 20 MB, so there is one of it."""
    return renewing.core().get_service_model("sagemaker")


@cache
def model_of(operation: str) -> OperationModel:
    service = _service()
    if operation not in service.operation_names:
        raise ApiError("UnknownOperationException", f"{operation} is not an operation of SageMaker")
    return service.operation_model(operation)


@cache
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:  # a pattern of Java that Python does not know is not checked
        return None


def _faults(shape: Any, value: Any, path: str) -> Iterator[str]:
    """What AWS's service refuses and botocore's validator lets pass: sizes, patterns, enumerations, ranges."""
    limits: Document = shape.metadata

    def fault(constraint: str) -> str:
        return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {constraint}"

    if shape.type_name == "structure":
        for name in value.keys() & shape.members.keys():
            yield from _faults(shape.members[name], value[name], _join(path, name))
        return
    size, what = value, "have value"
    if shape.type_name in ("string", "list", "map"):
        size, what = len(value), "have length"
    if isinstance(size, int | float):
        if size < limits.get("min", size):
            yield fault(f"{what} greater than or equal to {limits['min']}")
        if size > limits.get("max", size):
            yield fault(f"{what} less than or equal to {limits['max']}")
    if shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _faults(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _faults(shape.key, key, f"{path}.key")
            yield from _faults(shape.value, item, f"{path}.{key}.member")
    elif shape.type_name == "string":
        pattern = _pattern(limits.get("pattern", ".*"))
        if shape.enum and value not in shape.enum:
            yield fault(f"satisfy enum value set: [{', '.join(shape.enum)}]")
        elif "pattern" in limits and pattern and not pattern.fullmatch(value):
            yield fault(f"satisfy regular expression pattern: {limits['pattern']}")


def _join(path: str, name: str) -> str:
    member = name[0].lower() + name[1:]
    return f"{path}.{member}" if path else member


def validate(operation: str, request: Document) -> None:
    """ValidationException for what AWS's own model of the operation refuses."""
    shape: Shape | None = model_of(operation).input_shape
    if shape is None:
        return
    if (report := ParamValidator().validate(request, shape)).has_errors():
        raise invalid(report.generate_report())
    if faults := list(_faults(shape, request, "")):
        count = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
        raise invalid(count + "; ".join(faults))


# --- lists ------------------------------------------------------------------------------------
def page(items: list[Document], call: Call, key: str, sort_keys: dict[str, str]) -> Document:
    """One page of a List… answer: filtered by time, sorted, cut.

    sort_keys: value of SortBy → member of an item; the first is the default. Newest first unless SortOrder says so.
    """
    request = call.request
    for edge in ("CreationTime", "LastModifiedTime"):
        if (after := request.get(f"{edge}After")) is not None:
            items = [item for item in items if item.get(edge, 0) > after]
        if (before := request.get(f"{edge}Before")) is not None:
            items = [item for item in items if item.get(edge, 0) < before]
    by = sort_keys[request.get("SortBy") or next(iter(sort_keys))]
    items = sorted(items, key=lambda item: item[by])
    if request.get("SortOrder", "Descending") == "Descending":
        items.reverse()
    return cut(items, call, key, DEFAULT_PAGE)


def cut(items: list[Document], call: Call, key: str, size: int) -> Document:
    """The page that NextToken asks for; the token is the number of items before it."""
    token = call.request.get("NextToken") or "0"
    if not token.isdigit() or int(token) > len(items):
        raise invalid("Invalid NextToken provided")
    begin, end = int(token), int(token) + (call.request.get("MaxResults") or size)
    answer: Document = {key: items[begin:end]}
    if end < len(items):
        answer["NextToken"] = str(end)
    return answer


# --- tags -------------------------------------------------------------------------------------
def as_dict(tags: list[Document] | None) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def as_list(tags: dict[str, str]) -> list[Document]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Tags:
    """AddTags, ListTags and DeleteTags, for any resource there is."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.operations: dict[str, Operation] = {"AddTags": self.add, "ListTags": self.list, "DeleteTags": self.delete}

    def _resource(self, call: Call) -> str:
        arn = str(call.request["ResourceArn"])
        if not self.store.get(arn):
            raise invalid(f"The resource {arn} does not exist")
        return arn

    def add(self, call: Call) -> Document:
        arn = self._resource(call)
        self.store.tag(arn, as_dict(call.request["Tags"]))
        return {"Tags": as_list(self.store.tags(arn))}

    def list(self, call: Call) -> Document:
        return cut(as_list(self.store.tags(self._resource(call))), call, "Tags", TAGS_PAGE)

    def delete(self, call: Call) -> Document:
        self.store.untag(self._resource(call), call.request["TagKeys"])
        return {}
