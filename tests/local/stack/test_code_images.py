"""Running code images: checked against their digests, refused when this checkout cannot run them."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from cli.images.code_image import CodeImage, build
from local.stack.code_images import LOCK_LABEL, RUNTIME_LABEL, pull
from local.stack.oci_registry import PullError, digest
from tests.code_registry import ACCOUNT_REGISTRY


def with_layer(image: CodeImage, layer: bytes) -> CodeImage:
    """The image with another layer, and the manifest that goes with it."""
    manifest = json.loads(image.manifest)
    manifest["layers"][0] |= {"digest": digest(layer), "size": len(layer)}
    return CodeImage(image.name, json.dumps(manifest).encode(), (image.blobs[0], layer))


def with_config(image: CodeImage, **values) -> CodeImage:
    configuration = json.loads(image.blobs[0])
    configuration["config"] |= values
    blob = json.dumps(configuration).encode()
    manifest = json.loads(image.manifest)
    manifest["config"] |= {"digest": digest(blob), "size": len(blob)}
    return CodeImage(image.name, json.dumps(manifest).encode(), (blob, image.blobs[1]))


def test_pulled_image_runs_its_source(checkout, registry, session, tmp_path):
    recipe = pull(registry.take(build("mlops/retail-api", checkout)), session, registry.url, tmp_path / "c")
    assert recipe.command == ["python", "-m", "api"]
    assert Path(recipe.workdir, "api/pages/index.html").read_text() == "# api/pages/index.html\n"
    assert recipe.env["PATH"].startswith(f"{checkout}/.venv/api/bin:")
    assert Path(recipe.workdir) == Path(recipe.root).resolve() / "app"


def test_cached_image_is_asked_for_again_only_when_told(checkout, registry, session, tmp_path):
    reference = registry.take(build("mlops/retail-jobs", checkout))
    pull(reference, session, registry.url, tmp_path / "c")
    asked = len(registry.asked)
    pull(reference, session, registry.url, tmp_path / "c")
    assert len(registry.asked) == asked
    registry.stored.clear()
    with pytest.raises(PullError, match="404 MANIFEST_UNKNOWN: no such image"):
        pull(reference, session, registry.url, tmp_path / "c", always=True)


@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_one_changed_byte_is_refused_and_nothing_is_kept(checkout, registry, session, tmp_path, part):
    image = build("mlops/retail-jobs", checkout)
    reference = registry.take(image)
    data = dict(zip(["manifest", "config", "layer"], (image.manifest, *image.blobs), strict=True))[part]
    registry.stored[digest(data)] = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(PullError, match="digest mismatch"):
        pull(reference, session, registry.url, tmp_path / "c")
    assert list(tmp_path.glob("c/*")) == []


@pytest.mark.parametrize("name", ["../../escape.py", "/absolute/../../../escape.py", "app/../../escape.py"])
def test_layer_that_leads_outside_is_refused(checkout, registry, session, tmp_path, name):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    image = with_layer(build("mlops/retail-jobs", checkout), layer.getvalue())
    with pytest.raises(PullError, match="cannot be unpacked"):
        pull(registry.take(image), session, registry.url, tmp_path / "c")
    assert not list(tmp_path.rglob("escape.py"))


def test_working_directory_outside_the_image_is_refused(checkout, registry, session, tmp_path):
    image = with_config(build("mlops/retail-jobs", checkout), WorkingDir="/app/../../..")
    with pytest.raises(PullError, match="leads out of the image"):
        pull(registry.take(image), session, registry.url, tmp_path / "c")


@pytest.mark.parametrize("runtime", [None, "dev", "../../etc"])
def test_runtime_that_is_none_of_ours_is_refused(checkout, registry, session, tmp_path, runtime):
    labels = {LOCK_LABEL: "x"} | ({RUNTIME_LABEL: runtime} if runtime else {})
    image = with_config(build("mlops/retail-jobs", checkout), Labels=labels)
    with pytest.raises(PullError, match="a code image names one of api, jobs"):
        pull(registry.take(image), session, registry.url, tmp_path / "c")


def test_image_of_another_lock_is_refused(checkout, registry, session, tmp_path):
    reference = registry.take(build("mlops/retail-jobs", checkout))
    (checkout / ".venv/jobs/lock.sha256").write_text("newer\n")
    with pytest.raises(PullError, match=r"built for lock \w{64} of.*this checkout has newer.*make image"):
        pull(reference, session, registry.url, tmp_path / "c")


@pytest.mark.parametrize(
    "reference",
    [
        f"{ACCOUNT_REGISTRY}/mlops/retail-jobs:latest",
        f"docker.io/library/python@sha256:{'0' * 64}",
        f"{ACCOUNT_REGISTRY}/../mlops@sha256:{'0' * 64}",
        f"{ACCOUNT_REGISTRY}/mlops/retail-jobs@sha256:{'0' * 63}",
    ],
)
def test_tags_and_other_registries_are_refused(session, tmp_path, reference):
    with pytest.raises(PullError, match="tags and other registries are refused"):
        pull(reference, session, "http://127.0.0.1:1", tmp_path)


def test_registry_that_is_down_is_named(session, tmp_path):
    reference = f"{ACCOUNT_REGISTRY}/mlops/retail-jobs@sha256:{hashlib.sha256(b'').hexdigest()}"
    with pytest.raises(PullError, match="no password for the registry of mlops/retail-jobs"):
        pull(reference, session, "http://127.0.0.1:1", tmp_path)
