"""Read the CloudFormation templates of infra/: for change plans, for cost estimates, for tests."""

from typing import Any

import yaml


class _Loader(yaml.CSafeLoader):
    """Turns CloudFormation's tags into mappings of one entry: !Sub x becomes {"Sub": "x"}."""


def _tag(loader: yaml.CSafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    return {suffix: loader.construct_mapping(node, deep=True)}  # type: ignore[arg-type]  # the only kind of node left


_Loader.add_multi_constructor("!", _tag)


def read(template: str) -> dict[str, Any]:
    """Return a template as a document. template: its text. yaml.YAMLError when it is not YAML."""
    document: dict[str, Any] = yaml.load(template, Loader=_Loader)  # nosec B506 # noqa: S506 - a safe loader with more tags
    return document
