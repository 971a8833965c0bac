"""The evidence on which a person decides about a model, as the Markdown of the approval."""

from typing import Any


def markdown(*args: Any) -> str:
    return ""
