"""The release's own copy of its model bundle and held-out baskets, made only from the approved bundle."""

from __future__ import annotations

import hashlib
import io
import tarfile

from include import lake
from retail_mlops.common import job_requests
from retail_mlops.common.errors import RetailError
from retail_mlops.common.releases import Release, releases_of_bundle
from retail_mlops.hooks.s3_lake import LakeHook

MANIFEST = "manifest.json"


def bundle_digest(archive: bytes) -> str:
    """Return the digest of the bundle in a model.tar.gz: SHA-256 of its manifest.json; RetailError if it has none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as bundle:
            manifest = next(
                (bundle.extractfile(item) for item in bundle if item.name.removeprefix("./") == MANIFEST), None
            )
            if manifest is None:
                raise RetailError(f"model.tar.gz is not a bundle: it has no {MANIFEST}")
            return hashlib.sha256(manifest.read()).hexdigest()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RetailError(f"model.tar.gz is not a bundle: {error}") from error


def stage(hook: LakeHook, release: Release) -> None:
    """Copy the bundle and its held-out baskets to the release's keys; RetailError for a bundle that is not approved.

    What training left goes to an archive after half a year: then an earlier release of the bundle has a copy.
    """
    earlier = releases_of_bundle(hook.documents(lake.DEPLOYMENTS), release.bundle_digest)
    sources = [job_requests.key(release.source_url), *(other.model_key for other in earlier)]
    archive, key = _first_readable(hook, sources)
    if (digest := bundle_digest(archive)) != release.bundle_digest:
        raise RetailError(
            f"{job_requests.url(key)} holds bundle {digest}, but {release.bundle_digest} was approved: refused"
        )
    hook.put(release.model_key, archive, content_type="application/gzip")
    held_out = [job_requests.key(release.held_out_source), *(other.held_out_key for other in earlier)]
    baskets, _ = _first_readable(hook, held_out)
    hook.put(release.held_out_key, baskets, content_type="application/jsonl")


def _first_readable(hook: LakeHook, keys: list[str]) -> tuple[bytes, str]:
    """Return the content of the first object that can be read, and its key; RetailError when none can."""
    for key in keys:
        if (content := hook.content(key)) is not None:
            return content, key
    places = ", ".join(map(job_requests.url, keys))
    raise RetailError(f"{places}: gone, or in an archive (restore it with `aws s3api restore-object`)")
