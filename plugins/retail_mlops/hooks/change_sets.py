"""What a change set would change, as a table; and what a template imports from earlier stacks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from include import templates
from retail_mlops.common.tables import markdown_table

PROTECTED_TYPES: Final = frozenset(
    {
        "AWS::S3::Bucket",
        "AWS::EKS::Cluster",
        "AWS::ECR::Repository",
        "AWS::SageMaker::ModelPackageGroup",
    }
)
"""Types whose contents no stack can make again: data, workloads, images, models."""
IRREVERSIBLE: Final = {"AWS::EKS::Cluster": "Version"}
"""Properties that no later change can revert: EKS upgrades, one minor version at a time, and never downgrades."""
_COLUMNS: Final = ("action", "resource", "type", "replacement", "old resource", "because of")


@dataclass(frozen=True)
class Change:
    """One resource of a change set; source: ResourceChange of DescribeChangeSet.

    replacement: True, False, Conditional, or empty where AWS names none; policy: what becomes of the old resource
    (Delete, Retain, ReplaceAndRetain …); causes: properties, tags or policies that differ.
    """

    action: str
    name: str
    type: str
    replacement: str = ""
    policy: str = ""
    causes: tuple[str, ...] = ()

    @classmethod
    def from_description(cls, change: dict[str, Any]) -> Self:
        """Make it from one entry of DescribeChangeSet."""
        resource = change["ResourceChange"]
        targets = [detail.get("Target", {}) for detail in resource.get("Details", [])]
        return cls(
            action=resource["Action"],
            name=resource["LogicalResourceId"],
            type=resource["ResourceType"],
            replacement=resource.get("Replacement", ""),
            policy=resource.get("PolicyAction", ""),
            causes=tuple(sorted({target.get("Name") or target.get("Attribute", "") for target in targets} - {""})),
        )

    @property
    def needs_approval(self) -> bool:
        """Whether it may remove a bucket, cluster, repository or package group, or changes one irreversibly."""
        removed = self.action in ("Remove", "Dynamic") or self.replacement in ("True", "Conditional")
        return self.type in PROTECTED_TYPES and (removed or IRREVERSIBLE.get(self.type) in self.causes)


def table(changes: list[Change]) -> str:
    """Return the changes as a Markdown table."""
    rows = [(c.action, c.name, c.type, c.replacement, c.policy, ", ".join(c.causes)) for c in changes]
    return markdown_table(_COLUMNS, rows)


# --- templates ---
def additions(template: str) -> list[Change]:
    """Return all resources of a template, as the change set of a new stack would list them; a condition is named."""
    resources = templates.read(template).get("Resources", {})
    return [
        Change("Add", name, item["Type"], causes=(f"if {item['Condition']}",) if "Condition" in item else ())
        for name, item in resources.items()
    ]


def imports(template: str, parameters: dict[str, str]) -> set[str]:
    """Return the names of the exports that a template imports, with the parameters' values inserted."""
    names: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("ImportValue", "Fn::ImportValue"):
                    names.add(_substitute(inner, parameters))
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(templates.read(template))
    return names


def _substitute(value: Any, parameters: dict[str, str]) -> str:
    text = value if isinstance(value, str) else str(next(iter(value.values())))
    for name, given in parameters.items():
        text = text.replace(f"${{{name}}}", given)
    return text
