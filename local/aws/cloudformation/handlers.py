"""Teach ministack's CloudFormation a resource type, and what the modules that do so share.

A handler creates its resource through the public API, so that it is checked, tagged and listed like any other.
That call comes back into this process. Every type that is changed here therefore runs off the event loop.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from ministack.services.cloudformation import provisioners, stacks

from local.aws.patch import Patch, replace, wrap

Properties = dict[str, Any]
"""The properties of a resource, as the template spells them."""
Created = tuple[str, dict[str, str]]
"""Physical id, and the attributes for Fn::GetAtt."""

_TABLE = "_RESOURCE_HANDLERS"
_NOT_FOUND = (
    "ResourceNotFoundException",
    "ResourceNotFound",
    "NoSuchEntity",
    "NotFoundException",
    "TrailNotFoundException",
)


# --- patches ---
def new_type(kind: str, maker: type, reason: str, tags: str | None = "Tags") -> list[Patch]:
    """Return the patches that handle a type by maker's create, update and delete; tags: where the stack's tags go."""
    patches = [
        replace(provisioners, _TABLE, getattr(maker, verb), reason, (kind, verb))
        for verb in ("create", "update", "delete")
        if hasattr(maker, verb)
    ]
    return [*patches, stack_tags(kind, tags)] if tags else patches


def wrap_handler(kind: str, verb: str, wrapper: Callable[..., Any], reason: str) -> Patch:
    """Return the patch that puts `wrapper(original, ...)` before ministack's own handler."""
    return wrap(provisioners, _TABLE, wrapper, reason, (kind, verb))


def replace_handler(kind: str, verb: str, handler: Any, reason: str) -> Patch:
    """Return the patch that puts a handler in the place of ministack's own."""
    return replace(provisioners, _TABLE, handler, reason, (kind, verb))


def stack_tags(kind: str, tags: str) -> Patch:
    """Return the patch that gives a stack's tags to the type, in this property."""
    reason = f"tags of a stack do not reach {kind}"
    return replace(provisioners, "_STACK_TAG_PROPERTY", (tags, "list"), reason, (kind,))


def run_off_event_loop(patches: Iterable[Patch]) -> Patch:
    """Return the patch that moves the types of these handlers off the event loop, which their API calls need."""
    kinds = frozenset(patch.keys[0] for patch in patches if patch.name == _TABLE)
    reason = "a handler on the event loop cannot call the API of its own process"
    return wrap(stacks, "_runs_on_worker_thread", partial(_runs_on_worker_thread, kinds), reason)


def _runs_on_worker_thread(kinds: frozenset[str], original: Callable[[str], bool], kind: str) -> bool:
    return kind in kinds or original(kind)


# --- for the handlers ---
def pick(properties: Properties, *names: str) -> dict[str, Any]:
    """Return the named properties that the template gives."""
    return {name: properties[name] for name in names if name in properties}


def tags_of(properties: Properties) -> dict[str, str]:
    """Return the tags as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}


def lower_first(value: Any) -> Any:
    """Spell all member names (ClusterName) as the EKS API does (clusterName). Do not use it for tags."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: lower_first(inner) for name, inner in value.items()}
    return [lower_first(inner) for inner in value] if isinstance(value, list) else value


def unless_gone(delete: Callable[..., Any], **arguments: Any) -> None:
    """Delete a resource; one that does not exist any more is no error."""
    try:
        delete(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_FOUND:
            raise
