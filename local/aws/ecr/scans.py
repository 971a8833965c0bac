"""Image scan findings without a network: an image's Python distributions against a file of advisories.

ECR_ADVISORIES names a JSON list of {id, package, fixed, severity, description}, made where there is a network. The
distributions are those in the layers and in the SBOM beside the image; the libraries of a code image are in its
runtime. Without the file, or without any distribution, the answer is ECR's for images that it cannot read: FAILED,
UnsupportedImageError.
"""

import io
import json
import os
import re
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from ministack.core.responses import error_response_json, json_response
from ministack.services import ecr
from packaging.version import Version

from local.aws.patch import Response
from local.stack import sbom

OPERATIONS: Final = ("StartImageScan", "DescribeImageScanFindings")
_DISTRIBUTION: Final = re.compile(r"(?:^|/)([A-Za-z0-9_.]+)-([^-/]+)\.dist-info/METADATA$")
_UNSUPPORTED: Final = "UnsupportedImageError: The operating system and/or package manager are not supported."
_started: set[tuple[str, str]] = set()
"""Repository and digest of images whose scan was started by request."""


def distributions(repository: str, digest: str) -> set[tuple[str, str]]:
    """Return (name, version) of the Python distributions in the image's layers and in its SBOM."""
    _, manifest, _ = ecr._resolve_manifest(repository, digest)
    _, sbom_manifest, _ = ecr._resolve_manifest(repository, sbom.tag(digest))
    packages: set[tuple[str, str]] = set()
    for layer in json.loads(sbom_manifest)["layers"] if sbom_manifest else []:
        packages |= sbom.packages(ecr._v2_get_blob(repository, layer["digest"])[2])
    for layer in json.loads(manifest)["layers"]:
        packages |= _distributions_in(ecr._v2_get_blob(repository, layer["digest"])[2])
    return packages


def _distributions_in(layer: bytes) -> set[tuple[str, str]]:
    """Return the distributions in a layer; none when it is no tar file."""
    try:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            names = tar.getnames()
    except tarfile.TarError:
        return set()
    matches = filter(None, map(_DISTRIBUTION.search, names))
    return {(match[1].lower().replace("_", "-"), match[2]) for match in matches}


def findings(advisories: Path, packages: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return ECR's finding for each package (name, version) that is older than the version which fixes an advisory."""
    return [
        {
            "name": advisory["id"],
            "description": advisory["description"],
            "severity": advisory["severity"],
            "attributes": [
                {"key": "package_name", "value": package},
                {"key": "package_version", "value": version},
            ],
        }
        for advisory in json.loads(advisories.read_text())
        for package, version in sorted(packages)
        if package == advisory["package"] and Version(version) < Version(advisory["fixed"])
    ]


def answer(operation: str, request: dict[str, Any]) -> Response:
    """Return what ECR answers to one of OPERATIONS."""
    name = request["repositoryName"]
    repository = ecr._repositories.get(name)
    if not repository:
        return error_response_json("RepositoryNotFoundException", f"The repository {name} does not exist", 400)
    image = ecr._find_image(name, request.get("imageId", {}))
    if not image:
        return error_response_json("ImageNotFoundException", f"The image does not exist in {name}", 400)
    digest = image["imageDigest"]
    subject = {"registryId": ecr._registry_id(), "repositoryName": name, "imageId": {"imageDigest": digest}}
    if operation == "StartImageScan":
        _started.add((name, digest))
        return json_response(subject | {"imageScanStatus": {"status": "IN_PROGRESS"}})
    on_push = repository.get("imageScanningConfiguration", {}).get("scanOnPush")
    if not on_push and (name, digest) not in _started:
        return error_response_json("ScanNotFoundException", f"Image scan does not exist for {digest}", 400)
    return json_response(subject | _scan(name, digest))


def _scan(repository: str, digest: str) -> dict[str, Any]:
    """Return status and findings of an image's scan."""
    advisories = os.environ.get("ECR_ADVISORIES")
    packages = distributions(repository, digest)
    if not advisories or not packages:
        return {"imageScanStatus": {"status": "FAILED", "description": _UNSUPPORTED}}
    scan_findings = findings(Path(advisories), packages)
    return {
        "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
        "imageScanFindings": {
            "imageScanCompletedAt": time.time(),
            "vulnerabilitySourceUpdatedAt": Path(advisories).stat().st_mtime,
            "findings": scan_findings,
            "findingSeverityCounts": Counter(finding["severity"] for finding in scan_findings),
        },
    }
