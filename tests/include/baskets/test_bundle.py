"""A bundle is verified whole, or refused with what to do about it."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from include.baskets import bundle
from include.baskets.errors import (
    BundleContentError,
    BundleDigestError,
    BundleMembersError,
    BundleVersionError,
)
from include.baskets.schema import LABELS, UNCLASSIFIED, Line
from include.train import forest
from include.train.hyperparameters import Hyperparameters


def rewrite_manifest(folder, **changes) -> None:
    path = folder / bundle.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_member(folder, name: str, data: bytes) -> None:
    """A member and its digest, as someone would who writes a bundle of their own."""
    (folder / name).write_bytes(data)
    members = json.loads((folder / bundle.MANIFEST).read_text())["members"]
    rewrite_manifest(folder, members=members | {name: hashlib.sha256(data).hexdigest()})


def archive(path, entries: dict[str, bytes], link: str | None = None):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hosts"
            tar.addfile(entry)
    return path


@pytest.mark.parametrize(("code", "label"), [("HIGH", "High"), ("MIDDLE", "Medium"), ("LOW", "Low")])
def test_basket_of_one_certain_product_has_its_label(loaded, make_basket, code, label):
    answer = loaded.predict_one(make_basket(code))
    assert answer.prediction == label
    assert answer.confidence == answer.probability[label] == max(answer.probability.values())
    assert tuple(answer.probability) == LABELS
    assert sum(answer.probability.values()) == pytest.approx(1, abs=1e-5)
    assert answer.known_lines == 1


@pytest.mark.parametrize("codes", [("NEVER",), ("IDLE",), ("NEVER", "IDLE")])
def test_basket_without_a_known_product_is_unclassified(loaded, make_basket, codes):
    answer = loaded.predict_one(make_basket(*codes))
    assert (answer.prediction, answer.confidence, answer.known_lines) == (UNCLASSIFIED, 0.0, 0)
    assert answer.probability == {"Low": 0.25, "Medium": 0.5, "High": 0.25}
    assert loaded.predict_many([make_basket(*codes)]) == [answer]


def test_lines_of_one_product_count_once(loaded, make_basket):
    split = make_basket(lines=[Line("HIGH", 1, 1.0), Line("LOW", 1, 2.0), Line("HIGH", 2, 3.0)])
    merged = make_basket(lines=[Line("HIGH", 3, 4.0), Line("LOW", 1, 2.0)])
    assert loaded.predict_one(split) == loaded.predict_one(merged)
    assert loaded.predict_many([split]) == loaded.predict_many([merged])
    assert loaded.features_of(split) == loaded.features_of(merged)


def test_no_baskets_give_no_predictions(loaded):
    assert loaded.predict_many([]) == []


def test_equal_parts_give_an_equal_digest(tmp_path, parts):
    digests = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        digests.append(bundle.write(tmp_path / name, **parts))
    assert digests[0] == digests[1] == bundle.load(tmp_path / "first", digests[0]).digest


@pytest.mark.parametrize("name", bundle.MEMBERS)
def test_one_flipped_byte_is_refused(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleDigestError, match=rf"{name}.*fetch the bundle again"):
        bundle.load(folder)


def test_other_manifest_than_the_approved_one_is_refused(folder):
    approved = bundle.bundle_digest(folder)
    path = folder / bundle.MANIFEST
    path.write_text(path.read_text() + "\n")
    bundle.load(folder)
    with pytest.raises(BundleDigestError, match="was approved"):
        bundle.load(folder, approved)


@pytest.mark.parametrize("name", bundle.MEMBERS)
def test_missing_member_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(BundleMembersError, match="unpack it again"):
        bundle.load(folder)


def test_extra_member_is_refused(folder):
    (folder / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleMembersError, match=r"model\.pkl"):
        bundle.load(folder)


def test_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(BundleMembersError, match="not a model bundle"):
        bundle.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"schema_version": None},
        {"labels": ["Low", "Medium", "High", "Extreme"]},
        {"label_map": {"LA": "Low", "MM": "Medium", "UM": "High"}},
        {"features": ["lines"]},
    ],
)
def test_bundle_of_another_schema_is_refused(folder, change):
    rewrite_manifest(folder, **change)
    with pytest.raises(BundleVersionError, match=next(iter(change))):
        bundle.load(folder)


def test_manifest_that_is_no_json_is_refused(folder):
    (folder / bundle.MANIFEST).write_text("{")
    with pytest.raises(BundleContentError, match=r"manifest\.json is not JSON"):
        bundle.load(folder)


def test_members_that_are_no_object_are_refused(folder):
    rewrite_manifest(folder, members=["model.onnx"])
    with pytest.raises(BundleMembersError):
        bundle.load(folder)


def test_model_that_is_no_onnx_is_refused(folder):
    replace_member(folder, bundle.MODEL, b"\x80\x04pickle")
    with pytest.raises(BundleContentError, match="cannot be loaded"):
        bundle.load(folder)


def test_model_of_other_features_is_refused(folder):
    values = np.random.default_rng(0).normal(size=(60, 3))
    model = forest.to_onnx(forest.fit(values, np.arange(60) % 3, Hyperparameters(trees=2)))
    replace_member(folder, bundle.MODEL, model)
    with pytest.raises(BundleContentError, match="not this project's model"):
        bundle.load(folder)


def test_baseline_without_a_class_mix_is_refused(folder):
    replace_member(folder, bundle.BASELINE, b"{}")
    with pytest.raises(BundleContentError, match="class mix"):
        bundle.load(folder)


def test_archive_of_a_bundle_is_unpacked(folder, tmp_path):
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=".")
    unpacked = bundle.unpack(tmp_path / "model.tar.gz", tmp_path / "there")
    assert bundle.load(unpacked).digest == bundle.bundle_digest(folder)


@pytest.mark.parametrize("name", ["../manifest.json", "/tmp/model.onnx", "model.pkl", "deep/model.onnx"])
def test_archive_with_a_foreign_entry_is_refused(tmp_path, name):
    path = archive(tmp_path / "model.tar.gz", {name: b"x"})
    with pytest.raises(BundleMembersError, match="does not belong"):
        bundle.unpack(path, tmp_path / "there")


def test_archive_with_a_link_is_refused(tmp_path):
    path = archive(tmp_path / "model.tar.gz", {}, link="manifest.json")
    with pytest.raises(BundleMembersError, match="does not belong"):
        bundle.unpack(path, tmp_path / "there")


def test_truncated_archive_is_refused(folder, tmp_path):
    path = archive(tmp_path / "model.tar.gz", {"model.onnx": np.random.default_rng(0).bytes(50_000)})
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(BundleContentError, match="cannot be unpacked"):
        bundle.unpack(path, tmp_path / "there")


def test_serving_imports_nothing_that_training_needs():
    code = (
        "import sys, include.baskets.bundle; "
        "print(sorted({name.split('.')[0] for name in sys.modules} "
        "& {'pandas', 'sklearn', 'polars', 'pyarrow', 'scipy', 'skl2onnx', 'matplotlib', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
