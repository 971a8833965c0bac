"""Drift detection: a policy that a template gives as text is the same policy as an object."""

from collections.abc import Callable
from typing import Any, Final

from ministack.services.cloudformation import drift

from local.aws.cloudformation.handlers import Properties
from local.aws.patch import wrap


def _policies_as_objects(expected: Callable[..., Properties], *arguments: Any) -> Properties:
    properties = expected(*arguments)
    return {
        name: drift._json_or(value) if name.endswith("PolicyDocument") else value for name, value in properties.items()
    }


PATCHES: Final = (
    wrap(drift, "_expected_properties", _policies_as_objects, "a policy given as text is always reported as drift"),
)
