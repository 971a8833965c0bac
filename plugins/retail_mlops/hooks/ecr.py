"""Images by digest, and the scan that must be clean before one is released."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.ecr import EcrHook
from botocore.exceptions import ClientError

from include.accepted import accepted
from include.settings import settings
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.aws_errors import error_code
from retail_mlops.hooks.oci_registry import Repository

REFUSED: Final = ("CRITICAL", "HIGH")
"""Severities of which an image may have no finding, except those accepted in include/accepted.yaml."""


def split_reference(reference: str) -> tuple[str, str]:
    """Return (repository name, digest) of registry/repository@sha256:…; RetailError for a tag or another registry."""
    registry, _, rest = reference.partition("/")
    name, at, digest = rest.partition("@")
    if not at or not digest.startswith("sha256:") or f"{registry}/{name}" != settings().repository(name):
        raise RetailError(f"image {reference}: name it by digest, as {settings().repository('<repository>')}@sha256:…")
    return name, digest


def is_image(details: dict[str, Any]) -> bool:
    """Return whether it is an image to run, and not a signature or an SBOM.

    These have `sha256-<digest>` in their tag, or a media type of sigstore's
    (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
    """
    attached = any(tag.startswith("sha256-") for tag in details.get("imageTags", []))
    return not attached and ".sigstore." not in details.get("artifactMediaType", "")


def count_accepted(scan: dict[str, Any], names: set[str]) -> Counter[str]:
    """Return how many findings of a page are of these vulnerabilities, by severity; scan: basic or enhanced."""
    findings = scan.get("imageScanFindings", {})
    basic = [(finding["name"], finding["severity"]) for finding in findings.get("findings", [])]
    enhanced = [
        (finding.get("packageVulnerabilityDetails", {}).get("vulnerabilityId"), finding["severity"])
        for finding in findings.get("enhancedFindings", [])
    ]
    return Counter(severity for name, severity in basic + enhanced if name in names)


class ImageHook(EcrHook):
    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)

    def newest(self, repository: str) -> str:
        """Return the reference by digest of the image pushed last; RetailError when the repository has none.

        Signatures and SBOMs, which a repository keeps as images, are left out.
        """
        pages = self.conn.get_paginator("describe_images").paginate(repositoryName=repository)
        images = [image for page in pages for image in page["imageDetails"] if is_image(image)]
        if not images:
            raise RetailError(
                f"there is no image in {repository}. Push one: `make image` (local stack) or "
                "`make docker-build docker-push IMAGE=…` (AWS, docs/aws.md)"
            )
        newest = max(images, key=lambda image: (image["imagePushedAt"], image["imageDigest"]))
        return f"{settings().repository(repository)}@{newest['imageDigest']}"

    def tagged(self, repository: str, tag: str) -> str | None:
        """Return the reference by digest of the image with a tag; None when there is none."""
        try:
            images = self.conn.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
        except ClientError as error:
            if error_code(error) != "ImageNotFoundException":
                raise
            return None
        return f"{settings().repository(repository)}@{images[0]['imageDigest']}" if images else None

    def open(self, repository: str) -> Repository:
        """Return the project's own repository, to push to, with a password for twelve hours."""
        data = self.conn.get_authorization_token()["authorizationData"][0]
        return Repository(data["proxyEndpoint"], repository, f"Basic {data['authorizationToken']}")

    def require_scanned(self, reference: str) -> None:
        """Raise RetailError unless a completed scan found nothing serious, except what is accepted for a time.

        The setting require_image_scan turns this off.
        """
        if not settings().require_image_scan:
            self.log.info("The scan of %s is not required: RETAIL_REQUIRE_IMAGE_SCAN is false", reference)
            return
        name, digest = split_reference(reference)
        pages = self.conn.get_paginator("describe_image_scan_findings")
        try:
            scan, *more = pages.paginate(repositoryName=name, imageId={"imageDigest": digest})
        except ClientError as error:
            if error_code(error) != "ScanNotFoundException":
                raise
            raise RetailError(
                f"image {reference} was never scanned: start a scan in ECR, or wait for it, then run deploy again"
            ) from error
        status = scan["imageScanStatus"]["status"]
        if status not in ("COMPLETE", "ACTIVE"):
            raise RetailError(
                f"the scan of {reference} is {status}: "
                f"{scan['imageScanStatus'].get('description', 'no reason given')}. Wait for it, or start "
                "another, then run deploy again"
            )
        counts = Counter(scan.get("imageScanFindings", {}).get("findingSeverityCounts", {}))
        names = accepted(dt.datetime.now(dt.UTC).date())
        for page in (scan, *more):
            counts -= count_accepted(page, names)
        if bad := {severity: counts[severity] for severity in REFUSED if counts[severity]}:
            raise RetailError(
                f"the scan of {reference} found {bad}: fix the image, push it and run deploy again. What has no fix "
                "can be accepted for a time in include/accepted.yaml"
            )
