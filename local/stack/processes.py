"""Find and end the processes of a local stack by a variable that each of them has in its environment."""

from local.kube.processes import die_with_parent, is_alive, marked, terminate
from local.stack import config

__all__ = ["die_with_parent", "is_alive", "marked", "members", "terminate"]


def members(state: str) -> list[int]:
    """Return the processes of the local stack with this state folder, without the caller."""
    return marked(config.MARK, state)
