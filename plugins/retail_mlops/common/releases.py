"""A release: which approved model runs in which image; and the record that is kept of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from include import lake
from include.settings import settings
from retail_mlops.common.api_manifests import ANNOTATION
from retail_mlops.common.job_requests import url

RELEASED: Final = "released"
ROLLED_BACK: Final = "rolled back"
FAILED: Final = "failed"


@dataclass(frozen=True)
class Release:
    id: str
    model_package_arn: str
    version: int
    bundle_digest: str
    image: str
    source_url: str
    """s3:// URL of the training's model.tar.gz"""
    evidence_url: str
    """s3:// URL of the evaluation's evaluation.json; held_out.jsonl lies beside it"""
    previous: str | None = None
    """id of the release that ran before"""

    @property
    def model_key(self) -> str:
        return lake.release_model(self.id)

    @property
    def held_out_key(self) -> str:
        """Key of the release's own copy of the held-out baskets that its verification replays."""
        return str(PurePosixPath(self.model_key).with_name("held_out.jsonl"))

    @property
    def held_out_source(self) -> str:
        """s3:// URL of the held-out baskets that the evaluation wrote."""
        return self.evidence_url.rpartition("/")[0] + "/held_out.jsonl"

    def annotations(self) -> dict[str, str]:
        """Return the annotations of the Deployment and its pods."""
        return {
            f"{ANNOTATION}release": self.id,
            f"{ANNOTATION}model-package-arn": self.model_package_arn,
            f"{ANNOTATION}bundle-digest": self.bundle_digest,
            f"{ANNOTATION}image": self.image,
        }

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the API's container."""
        return {
            "MODEL_PACKAGE_ARN": self.model_package_arn,
            "BUNDLE_DIGEST": self.bundle_digest,
            "MODEL_DATA_URL": url(self.model_key),
            "RELEASE_ID": self.id,
            "AWS_REGION": settings().region,
        }

    def is_same(self, other: Release) -> bool:
        """Return whether users would meet the same model in the same image."""
        return (self.bundle_digest, self.image) == (other.bundle_digest, other.image)

    def is_live(self, deployment: dict[str, Any] | None) -> bool:
        """Return whether the live Deployment was applied by this very release."""
        return _annotations(deployment).get(f"{ANNOTATION}release") == self.id

    def runs_as(self, deployment: dict[str, Any] | None) -> bool:
        """Return whether the live Deployment already runs this model in this image."""
        live = _annotations(deployment)
        own = self.annotations()
        return all(live.get(key) == own[key] for key in own if key != f"{ANNOTATION}release")


def _annotations(deployment: dict[str, Any] | None) -> dict[str, str]:
    annotations: dict[str, str] = (deployment or {}).get("metadata", {}).get("annotations", {})
    return annotations


# --- the record at logs/deployments/<release>.json ---
def release_record(
    release: Release, outcome: str, at: str, run: str, reason: str = "", checks: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the record of a release.

    at: ISO time; run: `dag/run id`; checks: what the Jobs found, by task.
    """
    return {
        "release": asdict(release),
        "outcome": outcome,
        "at": at,
        "run": run,
        "reason": reason,
        "checks": checks or {},
    }


def released(records: list[dict[str, Any]]) -> list[Release]:
    """Return the releases that were completed, newest first."""
    return [Release(**record["release"]) for record in released_records(records)]


def released_records(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of the releases that were completed, newest first."""
    completed = [record for record in records if record["outcome"] == RELEASED]
    return sorted(completed, key=lambda record: record["at"], reverse=True)


def newest_released(records: list[dict[str, Any]]) -> Release | None:
    """Return the release that should be running: the newest that was completed."""
    return next(iter(released(records)), None)


def releases_of_bundle(records: list[dict[str, Any]], bundle_digest: str) -> list[Release]:
    """Return the completed releases of a bundle, newest first.

    Each has its own copy of the bundle, which stays readable when the training's is archived.
    """
    return [release for release in released(records) if release.bundle_digest == bundle_digest]
