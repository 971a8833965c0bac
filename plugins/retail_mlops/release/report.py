"""The record of a release as tables that people read: what was released, and what its checks found. Pure."""

from __future__ import annotations

from typing import Any

from retail_mlops.common.tables import markdown_table


def report(record: dict[str, Any]) -> str:
    """Return two Markdown tables: the release, and its checks if there were any."""
    release = record["release"]
    outcome = f"{record['outcome']} ({record['reason']})" if record["reason"] else record["outcome"]
    facts = [
        ("release", release["id"]),
        ("model", f"version {release['version']}, {release['model_package_arn']}"),
        ("image", release["image"]),
        ("release before", release["previous"] or "none"),
        ("outcome", outcome),
    ]
    checks = [
        (task, result.get("result", "?"), _side(result, "canary"), _side(result, "stable"), result.get("reason", ""))
        for task, result in record["checks"].items()
    ]
    tables = [markdown_table(("what", "value"), facts)]
    if checks:
        tables.append(markdown_table(("check", "result", "canary or Service", "stable pods", "why"), checks))
    return "\n\n".join(tables)


def _side(check: dict[str, Any], side: str) -> str:
    """Return what a check measured on one side: a bake measures both, a verification one."""
    if measured := check.get(side):
        return f"{measured['requests']} requests, {measured['error_rate']:.2%} failed, p95 {measured['p95_ms']} ms"
    if side == "stable" or "checked" not in check:
        return ""
    return f"{check['checked']} answers, {check['wrong']} wrong, p95 {check['p95_ms']} ms"
