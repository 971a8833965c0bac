"""What a change set would do, for people; and what a template asks of earlier stacks. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from include import templates

KEEPERS: Final = frozenset(
    {
        "AWS::S3::Bucket",
        "AWS::EKS::Cluster",
        "AWS::ECR::Repository",
        "AWS::SageMaker::ModelPackageGroup",
    }
)
"""Types that hold what no stack can make again: data, workloads, images, models."""
ONE_WAY: Final = {"AWS::EKS::Cluster": "Version"}
"""Properties that no later change can set back: EKS upgrades, one minor version at a time, and never downgrades."""
_COLUMNS: Final = ("action", "resource", "type", "replacement", "of the old one", "because of")


@dataclass(frozen=True)
class Change:
    """One resource of a change set; source: ResourceChange of DescribeChangeSet.

    replacement: True, False, Conditional, or empty where there is none to speak of; policy: what becomes of the old
    resource (Delete, Retain, ReplaceAndRetain …); causes: properties, tags or policies that differ.
    """

    action: str
    name: str
    type: str
    replacement: str = ""
    policy: str = ""
    causes: tuple[str, ...] = ()

    @classmethod
    def of(cls, change: dict[str, Any]) -> Self:
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
    def needs_a_person(self) -> bool:
        """Whether it takes, or may take, a bucket, cluster, repository or package group away, or has no way back."""
        taken = self.action in ("Remove", "Dynamic") or self.replacement in ("True", "Conditional")
        return self.type in KEEPERS and (taken or ONE_WAY.get(self.type) in self.causes)


def table(changes: list[Change]) -> str:
    """The changes as a Markdown table that is readable as plain text, too."""
    rows = [_COLUMNS, *((c.action, c.name, c.type, c.replacement, c.policy, ", ".join(c.causes)) for c in changes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


# --- templates ---
def additions(template: str) -> list[Change]:
    """All resources of a template, as the change set of a fresh stack would list them; a condition is named."""
    resources = templates.read(template).get("Resources", {})
    return [
        Change("Add", name, item["Type"], causes=(f"if {item['Condition']}",) if "Condition" in item else ())
        for name, item in resources.items()
    ]


def imports(template: str, parameters: dict[str, str]) -> set[str]:
    """Names of the exports that a template imports, with the parameters' values put in."""
    names: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("ImportValue", "Fn::ImportValue"):
                    names.add(_substituted(inner, parameters))
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(templates.read(template))
    return names


def _substituted(value: Any, parameters: dict[str, str]) -> str:
    text = value if isinstance(value, str) else str(next(iter(value.values())))
    for name, given in parameters.items():
        text = text.replace(f"${{{name}}}", given)
    return text
