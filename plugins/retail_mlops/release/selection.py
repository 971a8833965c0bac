"""Which release comes next: the package must be approved, and a rollback goes to a release that ran well. Pure."""

from __future__ import annotations

from typing import Any, Final

from retail_mlops.common.errors import RetailError
from retail_mlops.common.releases import RELEASED, Release, released_records
from retail_mlops.hooks.model_registry import APPROVED, ModelPackage

PREVIOUS: Final = "previous"
"""The value of `rollback_to` that names no release."""


def require_approved(package: ModelPackage) -> None:
    """Raise RetailError for a model that nobody approved."""
    if package.status != APPROVED:
        why = f" ({package.description})" if package.description else ""
        raise RetailError(
            f"{package.arn} is {package.status}{why}: only Approved models are deployed. Approve it in Airflow "
            "(Browse, Required Actions of train), or name another in model_package_arn"
        )


def release_of(package: ModelPackage, image: str, release_id: str, previous: Release | None) -> Release:
    """Return the release of a package in an image; RetailError when the package was not registered by train."""
    required = ("bundle_digest", "evidence")
    if missing := [name for name in required if not package.metadata.get(name)]:
        raise RetailError(
            f"{package.arn} has no {' and no '.join(missing)} in its metadata: register models with train"
        )
    return Release(
        id=release_id,
        model_package_arn=package.arn,
        version=package.version,
        bundle_digest=package.metadata["bundle_digest"],
        image=image,
        source_url=package.model_url,
        evidence_url=package.metadata["evidence"],
        previous=previous.id if previous else None,
    )


def rollback_target(wanted: str, running: Release | None, records: list[dict[str, Any]]) -> Release:
    """Return the release that `rollback_to` names; RetailError when there is none, or it was never completed."""
    by_id = {record["release"]["id"]: record for record in records}
    release_id = _before(running, by_id) if wanted == PREVIOUS else wanted
    record = by_id.get(release_id) if release_id else None
    if record is None or record["outcome"] != RELEASED:
        candidates = [
            f"{candidate['release']['id']} (version {candidate['release']['version']}, {candidate['at'][:16]})"
            for candidate in released_records(records)
        ]
        raise RetailError(
            f"rollback_to {wanted}: there is no such completed release. Newest first: {', '.join(candidates) or 'none'}"
        )
    return Release(**record["release"])


def _before(running: Release | None, by_id: dict[str, dict[str, Any]]) -> str | None:
    """Return the id of the newest release before the running one that was another model or another image."""
    if running is None:
        return None
    release_id = running.previous
    while release_id in by_id and Release(**by_id[release_id]["release"]).is_same(running):
        release_id = by_id[release_id]["release"]["previous"]
    return release_id
