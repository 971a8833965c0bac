"""Image scan findings without a network: an image's Python distributions against a file of advisories.

ECR_ADVISORIES names a JSON list of {id, package, fixed, severity, description}, made where there is a network. The
distributions are those in the layers and in the bill of materials beside the image: a code image of this project has
its libraries in the runtime. Without the file, or without any distribution, the answer is what ECR gives for images
that it cannot read: FAILED, UnsupportedImageError.
"""

import io
import json
import os
import re
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import ecr
from packaging.version import Version

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.stack import sbom

OPERATIONS = ("StartImageScan", "DescribeImageScanFindings")
_DISTRIBUTION = re.compile(r"(?:^|/)([A-Za-z0-9_.]+)-([^-/]+)\.dist-info/METADATA$")
_started: set[tuple[str, str]] = set()


def distributions(repository: str, digest: str) -> set[tuple[str, str]]:
    """(name, version) of the Python distributions in the image's layers, and in its bill of materials."""
    _, manifest, _ = ecr._resolve_manifest(repository, digest)
    _, bill, _ = ecr._resolve_manifest(repository, sbom.tag(digest))
    found = set()
    for layer in json.loads(bill)["layers"] if bill else []:
        found |= sbom.packages(ecr._v2_get_blob(repository, layer["digest"])[2])
    for layer in json.loads(manifest)["layers"]:
        try:
            with tarfile.open(fileobj=io.BytesIO(ecr._v2_get_blob(repository, layer["digest"])[2])) as tar:
                names = tar.getnames()
        except tarfile.TarError:
            continue
        matches = filter(None, map(_DISTRIBUTION.search, names))
        found |= {(match[1].lower().replace("_", "-"), match[2]) for match in matches}
    return found


def findings(advisories: Path, packages: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """ECR's findings for the packages (name, version) that an advisory names in an older version than the fixed one."""
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


def answer(operation: str, request: dict[str, Any]) -> tuple:
    """What ECR answers to one of OPERATIONS."""
    name = request["repositoryName"]
    repository = ecr._repositories.get(name)
    if not repository:
        return error_response_json("RepositoryNotFoundException", f"The repository {name} does not exist", 400)
    image = ecr._find_image(name, request.get("imageId", {}))
    if not image:
        return error_response_json("ImageNotFoundException", f"The image does not exist in {name}", 400)
    digest = image["imageDigest"]
    about = {"registryId": ecr._registry_id(), "repositoryName": name, "imageId": {"imageDigest": digest}}
    if operation == "StartImageScan":
        _started.add((name, digest))
        return json_response(about | {"imageScanStatus": {"status": "IN_PROGRESS"}})
    on_push = repository.get("imageScanningConfiguration", {}).get("scanOnPush")
    if not on_push and (name, digest) not in _started:
        return error_response_json("ScanNotFoundException", f"Image scan does not exist for {digest}", 400)
    advisories, packages = os.environ.get("ECR_ADVISORIES"), distributions(name, digest)
    if not advisories or not packages:
        why = "UnsupportedImageError: The operating system and/or package manager are not supported."
        return json_response(about | {"imageScanStatus": {"status": "FAILED", "description": why}})
    found = findings(Path(advisories), packages)
    return json_response(
        about
        | {
            "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
            "imageScanFindings": {
                "imageScanCompletedAt": time.time(),
                "vulnerabilitySourceUpdatedAt": Path(advisories).stat().st_mtime,
                "findings": found,
                "findingSeverityCounts": Counter(finding["severity"] for finding in found),
            },
        }
    )
