"""Reads the CloudFormation templates of infra/: for plans, for the price of what they make, for tests."""

from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """CloudFormation's tags become one-entry mappings: !Sub x is {"Sub": "x"}."""


def _tag(loader: yaml.CSafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]  # the one kind that is left


_Loader.add_multi_constructor("!", _tag)


def read(template: str) -> dict[str, Any]:
    """A template's text as a document; yaml.YAMLError when it is none."""
    return yaml.load(template, Loader=_Loader)  # nosec B506 # noqa: S506 - a safe loader with more tags
