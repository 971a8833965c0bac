"""AddTags, ListTags and DeleteTags, for any resource in the store."""

from typing import Final

from local.aws.sagemaker.protocol import Call, Operation, cut, invalid
from local.aws.sagemaker.store import Document, Store

PAGE: Final = 50


def as_dict(tags: list[Document] | None) -> dict[str, str]:
    """Return tags of a request as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in tags or []}


def as_list(tags: dict[str, str]) -> list[Document]:
    """Return tags as an answer spells them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Tags:
    """The operations on tags."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.operations: dict[str, Operation] = {"AddTags": self.add, "ListTags": self.list, "DeleteTags": self.delete}

    def _resource(self, call: Call) -> str:
        arn = str(call.request["ResourceArn"])
        if not self.store.get(arn):
            raise invalid(f"The resource {arn} does not exist")
        return arn

    def add(self, call: Call) -> Document:
        """Add or replace tags."""
        arn = self._resource(call)
        self.store.tag(arn, as_dict(call.request["Tags"]))
        return {"Tags": as_list(self.store.tags(arn))}

    def list(self, call: Call) -> Document:
        """List the tags of a resource."""
        return cut(as_list(self.store.tags(self._resource(call))), call, "Tags", PAGE)

    def delete(self, call: Call) -> Document:
        """Remove tags by their keys."""
        self.store.untag(self._resource(call), call.request["TagKeys"])
        return {}
