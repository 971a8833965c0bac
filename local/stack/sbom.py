"""The bill of materials of a code image: CycloneDX, from the hashed lock of its runtime.

It lies beside the image in its repository, tagged `sha256-<digest>.sbom` and naming the image as its subject: whoever
lists images by their tags, or asks for referrers (OCI 1.1), finds it. The same lock gives the same bytes.
"""

import json
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

KIND: Final = "application/vnd.cyclonedx+json"


def tag(image: str) -> str:
    """Where the bill of the image with this digest is."""
    return f"{image.replace(':', '-')}.sbom"


def document(name: str, image: str, lock: str) -> bytes:
    """The bill of image `name` with digest `image`: what its lock installs under this Python."""
    lines = [line.removesuffix("\\") for line in lock.splitlines() if "==" in line and line[0] not in " #"]
    wanted = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate()]
    packages = sorted((canonicalize_name(one.name), str(one.specifier).removeprefix("==")) for one in wanted)
    components = [
        {"type": "library", "name": package, "version": version, "purl": f"pkg:pypi/{package}@{version}"}
        for package, version in packages
    ]
    about = {"component": {"type": "container", "name": name, "version": image}}
    bill = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about, "components": components}
    return json.dumps(bill).encode()


def packages(bill: bytes) -> set[tuple[str, str]]:
    """(name, version) of what a bill lists."""
    return {(one["name"], one["version"]) for one in json.loads(bill)["components"]}
