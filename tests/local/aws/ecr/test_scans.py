"""Findings are the packages that an advisory names in a version before the fixed one."""

import json
from pathlib import Path

import pytest

from local.aws.ecr import scans
from local.stack import sbom

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


def test_libraries_of_a_code_image_are_those_of_its_bill(monkeypatch: pytest.MonkeyPatch) -> None:
    image = "sha256:" + "a" * 64
    manifests = {image: b'{"layers": []}', sbom.tag(image): b'{"layers": [{"digest": "sha256:b"}]}'}
    bill = sbom.document("mlops/retail-api", image, "Lib.Ary==1.9 \\\n    --hash=sha256:0\n")
    monkeypatch.setattr(scans.ecr, "_resolve_manifest", lambda _name, wanted: (wanted, manifests.get(wanted), ""))
    monkeypatch.setattr(scans.ecr, "_v2_get_blob", lambda _name, _digest: (200, {}, bill))
    assert scans.distributions("mlops/retail-api", image) == {("lib-ary", "1.9")}
    del manifests[sbom.tag(image)]
    assert scans.distributions("mlops/retail-api", image) == set()
