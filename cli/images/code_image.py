"""Build, push and verify the code images of the API and the jobs (`local/stack/code_images.py` says what they are).

The same source and lock give the same digest. An image's SBOM (`local/stack/sbom.py`) is pushed with it.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3

from include.settings import settings
from local.stack import config, sbom
from local.stack.code_images import CONTENTS, LOCK_LABEL, RUNTIME_LABEL, WORKDIR, environment_of, lock_of
from local.stack.oci_registry import MANIFEST, ImageError, Repository, digest


@dataclass(frozen=True)
class CodeImage:
    """A built image; blobs: config, layer."""

    name: str
    manifest: bytes = field(repr=False)
    blobs: tuple[bytes, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    @property
    def tag(self) -> str:
        return self.digest.removeprefix("sha256:")[:12]


# --- build ---
def source_files(sources: tuple[str, ...], base: Path) -> Iterator[Path]:
    """Yield the files of an image below `base`. Raise ImageError for a source that does not exist."""
    for source in sources:
        path = base / source
        if not path.exists():
            raise ImageError(f"{path} does not exist, and it is a part of the image")
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                yield file


def _layer(sources: tuple[str, ...], base: Path) -> bytes:
    """Return a tar of the files in which nothing depends on time, user or machine."""
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(source_files(sources, base)):
            content = path.read_bytes()
            info = tarfile.TarInfo(f"{WORKDIR.strip('/')}/{path.relative_to(base).as_posix()}")
            info.size, info.mode, info.mtime = len(content), 0o644, 0
            tar.addfile(info, BytesIO(content))
    return layer.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def build(name: str, base: Path = config.ROOT) -> CodeImage:
    """Build the code image `mlops/retail-api` or `mlops/retail-jobs` of the source below `base`."""
    if name not in CONTENTS:
        raise ImageError(f"unknown image {name}: the images are {', '.join(CONTENTS)}")
    contents = CONTENTS[name]
    lock = lock_of(contents.runtime)
    if not lock:
        raise ImageError(f"{environment_of(contents.runtime)} is not installed: run `make install`")
    layer = _layer(contents.sources, base)
    configuration = json.dumps(
        {
            "architecture": "amd64",  # OCI asks for one; source runs on any
            "os": "linux",
            "config": {
                "WorkingDir": WORKDIR,
                "Entrypoint": list(contents.command),
                "Env": ["PYTHONUNBUFFERED=1"],
                "Labels": {RUNTIME_LABEL: contents.runtime, LOCK_LABEL: lock},
            },
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", configuration),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    ).encode()
    return CodeImage(name, manifest, (configuration, layer))


def build_sbom(image: CodeImage) -> CodeImage:
    """Build the image's SBOM, an artifact of OCI. Raise ImageError when the lock is not the installed one."""
    runtime = CONTENTS[image.name].runtime
    lock = config.ROOT / f"requirements/{runtime}.txt"
    if not lock.exists() or hashlib.sha256(lock.read_bytes()).hexdigest() != lock_of(runtime):
        raise ImageError(f"{environment_of(runtime)} was not installed from {lock}: run `make install`")
    empty = b"{}"
    document = sbom.document(image.name, image.digest, lock.read_text())
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": sbom.KIND,
        "config": _descriptor("application/vnd.oci.empty.v1+json", empty),
        "layers": [_descriptor(sbom.KIND, document)],
        "subject": _descriptor(MANIFEST, image.manifest),
    }
    return CodeImage(image.name, json.dumps(manifest).encode(), (empty, document))


# --- push and verify ---
def _tagged(image: CodeImage) -> tuple[tuple[str, CodeImage], ...]:
    """Return what the registry holds of an image, by tag: the image itself and its SBOM."""
    return (image.tag, image), (sbom.tag(image.digest), build_sbom(image))


def _repository(session: boto3.Session, stack: config.LocalStack, image: CodeImage) -> Repository:
    return Repository(session, stack.aws_url, settings().account_id, settings().region, image.name)


def _reference(image: CodeImage) -> str:
    return f"{settings().repository(image.name)}@{image.digest}"


def push(session: boto3.Session, stack: config.LocalStack, image: CodeImage) -> str:
    """Push the image, tagged with the start of its digest, and its SBOM; return its reference by digest.

    What the registry has already is not pushed again.
    """
    repository = _repository(session, stack, image)
    for tag, content in _tagged(image):
        if not repository.has(tag):
            for blob in content.blobs:
                repository.put_blob(blob)
            repository.put_manifest(tag, content.manifest)
    return _reference(image)


def verify(session: boto3.Session, stack: config.LocalStack, image: CodeImage) -> str:
    """Return the image's reference when the registry has just this image with just its SBOM, byte by byte.

    Raise ImageError with what is missing or different. Whoever builds the same source and lock again can verify it.
    """
    repository = _repository(session, stack, image)
    for tag, content in _tagged(image):
        if not repository.has(tag):
            raise ImageError(
                f"{image.name}:{tag} is not in the registry: run `make image`, or verify where it was built"
            )
        if repository.manifest(tag) != content.manifest:
            raise ImageError(f"{image.name}:{tag} is not what this source and its lock give")
        for blob in content.blobs:
            repository.blob(digest(blob))
    return _reference(image)
