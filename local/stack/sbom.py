"""The SBOM (bill of materials) of a code image: CycloneDX, from the hashed lock of its runtime.

It is stored beside the image in its repository. Its tag `sha256-<digest>.sbom` and its subject name the image, so that
clients find it by tag or as a referrer (OCI 1.1). The same lock gives the same bytes.
"""

import json
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

KIND: Final = "application/vnd.cyclonedx+json"


def tag(image: str) -> str:
    """Return the tag of the SBOM of the image with this digest."""
    return f"{image.replace(':', '-')}.sbom"


def document(name: str, image: str, lock: str) -> bytes:
    """Return the SBOM of image `name` with digest `image`: what its lock installs under this Python."""
    lines = [line.removesuffix("\\") for line in lock.splitlines() if "==" in line and line[0] not in " #"]
    pins = [pin for pin in map(Requirement, lines) if not pin.marker or pin.marker.evaluate()]
    packages = sorted((canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")) for pin in pins)
    components = [
        {"type": "library", "name": package, "version": version, "purl": f"pkg:pypi/{package}@{version}"}
        for package, version in packages
    ]
    about = {"component": {"type": "container", "name": name, "version": image}}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": about,
        "components": components,
    }
    return json.dumps(document).encode()


def packages(bill: bytes) -> set[tuple[str, str]]:
    """Return (name, version) of what an SBOM lists."""
    return {(component["name"], component["version"]) for component in json.loads(bill)["components"]}
