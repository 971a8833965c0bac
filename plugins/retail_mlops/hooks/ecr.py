"""Images by digest, and whether their scan allows to run them."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.ecr import EcrHook
from botocore.exceptions import ClientError

from include.accepted import accepted
from include.settings import settings
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.oci_registry import Repository

REFUSED: Final = ("CRITICAL", "HIGH")
"""Severities of which an image may have no finding but those of include/accepted.yaml."""


def split_reference(reference: str) -> tuple[str, str]:
    """(repository name, digest) of registry/repository@sha256:…; RetailError for a tag or a foreign registry."""
    registry, _, rest = reference.partition("/")
    name, at, digest = rest.partition("@")
    if not at or not digest.startswith("sha256:") or f"{registry}/{name}" != settings().repository(name):
        raise RetailError(f"image {reference}: expected {settings().repository('<repository>')}@sha256:…, by digest")
    return name, digest


def is_image(details: dict[str, Any]) -> bool:
    """Whether it is something to run: what is attached to one has `sha256-<digest>` in its tag, or a media type of
    sigstore's (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md)."""
    attached = any(tag.startswith("sha256-") for tag in details.get("imageTags", []))
    return not attached and ".sigstore." not in details.get("artifactMediaType", "")


def lived_with(scan: dict[str, Any], names: set[str]) -> Counter[str]:
    """Severity → how many findings of a page of a scan, of either kind that ECR has, are of these vulnerabilities."""
    found = scan.get("imageScanFindings", {})
    basic = [(one["name"], one["severity"]) for one in found.get("findings", [])]
    enhanced = [
        (one.get("packageVulnerabilityDetails", {}).get("vulnerabilityId"), one["severity"])
        for one in found.get("enhancedFindings", [])
    ]
    return Counter(severity for name, severity in basic + enhanced if name in names)


class ImageHook(EcrHook):
    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)

    def newest(self, repository: str) -> str:
        """Reference by digest of the image pushed last; RetailError when the repository has none.

        Signatures and SBOMs, which lie in the repository as images, too, are none.
        """
        pages = self.conn.get_paginator("describe_images").paginate(repositoryName=repository)
        images = [image for page in pages for image in page["imageDetails"] if is_image(image)]
        if not images:
            raise RetailError(
                f"no image in {repository}: push one: `make image` (local stack), `make docker-build docker-push` (AWS)"
            )
        newest = max(images, key=lambda image: (image["imagePushedAt"], image["imageDigest"]))
        return f"{settings().repository(repository)}@{newest['imageDigest']}"

    def tagged(self, repository: str, tag: str) -> str | None:
        """Reference by digest of the image with a tag; None when there is none."""
        try:
            found = self.conn.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ImageNotFoundException":
                raise
            return None
        return f"{settings().repository(repository)}@{found[0]['imageDigest']}" if found else None

    def open(self, repository: str) -> Repository:
        """Our own repository, to push to, with a password for twelve hours."""
        given = self.conn.get_authorization_token()["authorizationData"][0]
        return Repository(given["proxyEndpoint"], repository, f"Basic {given['authorizationToken']}")

    def assert_scanned(self, reference: str) -> None:
        """RetailError unless a finished scan found nothing serious but what is accepted for a time (setting
        require_image_scan turns this off)."""
        if not settings().require_image_scan:
            self.log.info("scan of %s not asked for: RETAIL_REQUIRE_IMAGE_SCAN is false", reference)
            return
        name, digest = split_reference(reference)
        pages = self.conn.get_paginator("describe_image_scan_findings")
        try:
            scan, *more = pages.paginate(repositoryName=name, imageId={"imageDigest": digest})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ScanNotFoundException":
                raise
            raise RetailError(f"image {reference} was never scanned: start a scan, or wait for it") from error
        status = scan["imageScanStatus"]["status"]
        if status not in ("COMPLETE", "ACTIVE"):
            raise RetailError(f"scan of {reference} is {status}: {scan['imageScanStatus'].get('description', '')}")
        counts = Counter(scan.get("imageScanFindings", {}).get("findingSeverityCounts", {}))
        names = accepted(dt.datetime.now(dt.UTC).date())
        for page in (scan, *more):
            counts -= lived_with(page, names)
        if bad := {severity: counts[severity] for severity in REFUSED if counts[severity]}:
            raise RetailError(
                f"scan of {reference} found {bad}: mend the image, push it, release again;"
                " what has no fix may be accepted for a time, in include/accepted.yaml"
            )
