"""SageMaker's protocol: requests, AWS's errors, timestamps, and pages of lists."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from local.aws.sagemaker.store import Document

DEFAULT_PAGE: Final = 10


class AwsError(Exception):
    """The error that AWS would answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def invalid(message: str) -> AwsError:
    """Return a ValidationException."""
    return AwsError("ValidationException", message)


@dataclass(frozen=True)
class Call:
    """A request that is authorised and valid; identity: who made it, as IamIdentity of UserContext."""

    operation: str
    request: Document
    region: str
    account: str
    identity: Document = field(default_factory=dict)

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource in the caller's account and region."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"

    @property
    def user(self) -> Document:
        """Return the UserContext of the caller."""
        return {"IamIdentity": self.identity} if self.identity else {}


Operation = Callable[[Call], Document]


def now() -> float:
    """Return seconds since the epoch, as AWS's JSON carries a timestamp."""
    return round(time.time(), 3)


def page(items: list[Document], call: Call, key: str, sort_keys: dict[str, str]) -> Document:
    """Return one page of a List… answer: filtered by time, sorted, cut.

    sort_keys: value of SortBy → member of an item; the first is the default. The newest come first unless SortOrder
    says otherwise.
    """
    request = call.request
    for moment in ("CreationTime", "LastModifiedTime"):
        if (after := request.get(f"{moment}After")) is not None:
            items = [item for item in items if item.get(moment, 0) > after]
        if (before := request.get(f"{moment}Before")) is not None:
            items = [item for item in items if item.get(moment, 0) < before]
    sort_key = sort_keys[request.get("SortBy") or next(iter(sort_keys))]
    items = sorted(items, key=lambda item: item[sort_key])
    if request.get("SortOrder", "Descending") == "Descending":
        items.reverse()
    return cut(items, call, key, DEFAULT_PAGE)


def cut(items: list[Document], call: Call, key: str, size: int) -> Document:
    """Return the page that NextToken asks for; the token is the number of items before it."""
    token = call.request.get("NextToken") or "0"
    if not token.isdigit() or int(token) > len(items):
        raise invalid("Invalid NextToken provided")
    start = int(token)
    end = start + (call.request.get("MaxResults") or size)
    answer: Document = {key: items[start:end]}
    if end < len(items):
        answer["NextToken"] = str(end)
    return answer
