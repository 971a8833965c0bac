"""Findings are the packages that an advisory names in a version before the fixed one."""

import json
from pathlib import Path

from local.aws import scans

ADVISORY = {"id": "CVE-1", "package": "lib", "fixed": "1.10", "severity": "HIGH", "description": "bad"}


def test_an_older_version_is_found(tmp_path: Path) -> None:
    file = tmp_path / "advisories.json"
    file.write_text(json.dumps([ADVISORY]))
    [finding] = scans.findings(file, {("lib", "1.9"), ("other", "1.0")})
    assert (finding["name"], finding["severity"]) == ("CVE-1", "HIGH")
    assert {"key": "package_version", "value": "1.9"} in finding["attributes"]


def test_the_fixed_version_and_other_packages_are_not(tmp_path: Path) -> None:
    file = tmp_path / "advisories.json"
    file.write_text(json.dumps([ADVISORY]))
    assert scans.findings(file, {("lib", "1.10"), ("lib", "2.0"), ("libs", "1.0")}) == []
