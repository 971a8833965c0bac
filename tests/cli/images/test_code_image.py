"""Building code images: reproducible, with an SBOM, verified byte by byte."""

import io
import json
import re
import shutil
import subprocess
import tarfile
from types import SimpleNamespace

import pytest

from cli.images.code_image import CodeImage, build, build_sbom, verify
from local.stack import config, sbom
from local.stack.code_images import CONTENTS
from local.stack.oci_registry import ImageError, digest
from tests.code_registry import ACCOUNT_REGISTRY

ROOT = config.ROOT


def members(image: CodeImage) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(image.blobs[1])) as tar:
        return tar.getnames()


def test_same_source_has_the_same_digest_wherever_and_whenever(checkout, tmp_path):
    first = build("mlops/retail-jobs", checkout)
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkout, copy)
    (copy / "include/train/__main__.py").touch()
    (copy / "include/__pycache__").mkdir()
    (copy / "include/__pycache__/x.pyc").write_bytes(b"compiled")
    assert build("mlops/retail-jobs", copy).digest == first.digest


def test_changed_source_or_lock_has_another_digest(checkout):
    first = build("mlops/retail-jobs", checkout).digest
    (checkout / "include/train/__main__.py").write_text("print('other')\n")
    second = build("mlops/retail-jobs", checkout).digest
    (checkout / ".venv/jobs/lock.sha256").write_text("another lock\n")
    assert len({first, second, build("mlops/retail-jobs", checkout).digest}) == 3


def test_api_image_holds_the_api_and_the_baskets_only(checkout):
    assert members(build("mlops/retail-api", checkout)) == [
        "app/api/__init__.py",
        "app/api/pages/index.html",
        "app/include/__init__.py",
        "app/include/baskets/schema.py",
    ]


def test_unknown_name_is_refused(checkout):
    with pytest.raises(ImageError, match=r"retail-api, mlops/retail-jobs"):
        build("mlops/other", checkout)


def test_missing_environment_is_named(checkout):
    (checkout / ".venv/jobs/lock.sha256").unlink()
    with pytest.raises(ImageError, match="make install"):
        build("mlops/retail-jobs", checkout)


# --- the SBOM ---
@pytest.fixture
def pushed(checkout, registry, session):
    """A local stack whose registry has the jobs' image and its bill of materials."""
    stack = SimpleNamespace(aws_url=registry.url)
    image = build("mlops/retail-jobs", checkout)
    registry.take(image)
    bill = build_sbom(image)
    registry.take(bill)
    registry.stored |= {image.tag: image.manifest, sbom.tag(image.digest): bill.manifest}
    return image, lambda: verify(session, stack, image)


def test_bill_lists_what_the_lock_installs_and_names_its_image(checkout):
    image = build("mlops/retail-jobs", checkout)
    bill = build_sbom(image)
    assert sbom.packages(bill.blobs[1]) == {("fast-thing", "1.2")}
    assert json.loads(bill.manifest)["subject"]["digest"] == image.digest
    assert build_sbom(image) == bill


def test_bills_of_the_checkout_list_every_locked_distribution():
    for name, contents in CONTENTS.items():
        lock = (config.ROOT / f"requirements/{contents.runtime}.txt").read_text()
        listed = sbom.packages(build_sbom(build(name)).blobs[1])
        assert {package for package, _version in listed} == set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))


def test_bill_is_what_cyclonedx_asks_for(checkout):
    bill = build_sbom(build("mlops/retail-jobs", checkout)).blobs[1]
    (checkout / "bill.json").write_bytes(bill)
    check = """import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))"""
    python = ROOT / ".venv/ci/bin/python"
    done = subprocess.run([python, "-c", check, checkout / "bill.json"], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr


def test_lock_that_is_not_installed_makes_no_bill(checkout):
    image = build("mlops/retail-jobs", checkout)
    (checkout / "requirements/jobs.txt").write_text("fast_thing==1.3\n")
    with pytest.raises(ImageError, match="make install"):
        build_sbom(image)


def test_image_with_its_bill_is_verified(pushed):
    image, verify = pushed
    assert verify() == f"{ACCOUNT_REGISTRY}/{image.name}@{image.digest}"


def test_image_without_bill_is_not_verified(pushed, registry):
    image, verify = pushed
    del registry.stored[sbom.tag(image.digest)]
    with pytest.raises(ImageError, match="make image"):
        verify()


def test_other_bill_or_content_is_not_verified(pushed, registry):
    image, verify = pushed
    registry.stored[digest(image.blobs[1])] = b"other source"
    with pytest.raises(ImageError, match="digest mismatch"):
        verify()
    registry.stored[sbom.tag(image.digest)] = image.manifest
    registry.stored[digest(image.blobs[1])] = image.blobs[1]
    with pytest.raises(ImageError, match="not what this source and its lock give"):
        verify()


def test_checkout_builds_both_images_from_tracked_files_only():
    tracked = set(
        subprocess.run(
            ["git", "ls-files"], cwd=config.ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
    )
    for name in CONTENTS:
        assert {member.removeprefix("app/") for member in members(build(name))} <= tracked
