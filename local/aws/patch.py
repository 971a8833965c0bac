"""Describe one change of ministack, and apply it.

Each module that changes ministack lists its changes in `PATCHES`, with the reason. Nothing happens when a module is
imported: `patches.install` applies all lists. The reasons hold for the version in `compatibility.VERSION`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and body: what ministack's request handlers return."""


@dataclass(frozen=True)
class Patch:
    """A name of ministack, or a member of a table of ministack, that local.aws replaces."""

    module: ModuleType
    name: str
    reason: str
    replacement_of: Callable[[Any], Any]
    """From the original (None for a new member of a table) to what takes its place."""
    keys: tuple[str, ...] = ()
    """The path to the member, when the name is a table; missing tables on the way are created."""

    @property
    def target(self) -> str:
        """Return the name in full, such as `ministack.services.ec2._ACTION_MAP[DeleteSubnet]`."""
        return f"{self.module.__name__}.{self.name}" + "".join(f"[{key}]" for key in self.keys)

    def apply(self) -> None:
        """Replace the original. Raise AttributeError when ministack has no such name."""
        original = getattr(self.module, self.name)
        if not self.keys:
            setattr(self.module, self.name, self.replacement_of(original))
            return
        table, member = original, self.keys[-1]
        for key in self.keys[:-1]:
            table = table.setdefault(key, {})
        table[member] = self.replacement_of(table.get(member))


def replace(module: ModuleType, name: str, value: Any, reason: str, keys: tuple[str, ...] = ()) -> Patch:
    """Return the patch that puts `value` in the place of the original."""
    return Patch(module, name, reason, lambda _original: value, keys)


def wrap(module: ModuleType, name: str, wrapper: Callable[..., Any], reason: str, keys: tuple[str, ...] = ()) -> Patch:
    """Return the patch that calls `wrapper(original, ...)` where ministack calls the original."""
    return Patch(module, name, reason, lambda original: partial(wrapper, original), keys)
