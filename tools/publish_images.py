"""Publish a Docker image to ECR: `python -m tools.publish_images {base,save,load,push,sign,verify} TARGET`.

`tools/build_images.py` builds `retail-TARGET:TAG`; here it is handed from the job that builds to the one that may push,
so that what was scanned is what is pushed. A tag is pushed once: ECR refuses to change it. The digest that ECR gives is
kept beside the image, in `dist/TARGET.digest`, for who signs it, and for the person who deploys it; the base that
tools/build_images.py is to build on, by its digest, in `dist/TARGET.base`.
"""

import argparse
import base64
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from include.settings import API_REPOSITORY, GITHUB_ISSUER, JOBS_REPOSITORY, PREFIX, settings
from local.stack.config import local_env

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
REPOSITORIES = {"api": API_REPOSITORY, "jobs": JOBS_REPOSITORY}
BASE = "python:3.11-slim-bookworm"
"""What tools/build_images.py builds on when neither $BASE nor `dist/TARGET.base` says anything."""
WORKFLOW = ".github/workflows/image.yaml"
"""Whose signature counts."""


class ImageError(Exception):
    """What is missing, and what to do."""


@dataclass(frozen=True)
class Image:
    """A target of the Dockerfile, at a tag."""

    target: str
    tag: str

    @property
    def local(self) -> str:
        return f"retail-{self.target}:{self.tag}"

    @property
    def repository(self) -> str:
        return settings().repository(REPOSITORIES[self.target])

    @property
    def tar(self) -> Path:
        return DIST / f"{self.target}.tar"

    @property
    def sbom(self) -> Path:
        return DIST / f"{self.target}.cdx.json"

    @property
    def base_file(self) -> Path:
        return DIST / f"{self.target}.base"

    @property
    def digest_file(self) -> Path:
        return DIST / f"{self.target}.digest"

    @property
    def reference(self) -> str:
        """registry/repository@sha256:…, after the push."""
        if not self.digest_file.exists():
            raise ImageError(f"{self.digest_file.relative_to(ROOT)} is not there: make docker-push IMAGE={self.target}")
        return f"{self.repository}@{self.digest_file.read_text().strip()}"


def docker(*args: str | Path, stdin: str | None = None) -> str:
    """What docker prints. CalledProcessError when it refuses; its words are on stderr."""
    done = subprocess.run(["docker", *args], check=True, text=True, input=stdin, stdout=subprocess.PIPE)
    return done.stdout


# --- steps ---
def pin_base(image: Image) -> None:
    """Pull the base image and keep its digest: from then on the image is built on that, until the next pull."""
    name = os.environ.get("BASE", BASE).partition("@")[0]
    docker("pull", "--quiet", name)
    digests = docker("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name).split()
    found = [one.partition("@")[2] for one in digests if "@sha256:" in one]
    if not found:
        raise ImageError(f"{name} has no digest: it was not pulled from a registry")
    pinned = f"{name}@{found[0]}"
    DIST.mkdir(exist_ok=True)
    image.base_file.write_text(f"{pinned}\n")
    print(pinned)


def save(image: Image) -> None:
    DIST.mkdir(exist_ok=True)
    docker("save", "--output", image.tar, image.local)


def load(image: Image) -> None:
    docker("load", "--quiet", "--input", image.tar)


def _ecr() -> Any:
    return boto3.client("ecr", region_name=settings().region)


@contextlib.contextmanager
def logged_in(image: Image) -> Iterator[None]:
    """Docker's login to the image's registry, which cosign uses, too, for as long as the block takes."""
    given = _ecr().get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    registry = image.repository.partition("/")[0]
    docker("login", "--username", user, "--password-stdin", registry, stdin=password)
    try:
        yield
    finally:
        docker("logout", registry)


def _there(ecr: Any, image: Image) -> str | None:
    """The digest of the tag in ECR, if it is there."""
    try:
        found = ecr.describe_images(repositoryName=REPOSITORIES[image.target], imageIds=[{"imageTag": image.tag}])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ImageNotFoundException":
            raise
        return None
    return found["imageDetails"][0]["imageDigest"]


def _is_same(ecr: Any, image: Image, digest: str) -> bool:
    """Whether the image here has the configuration, and so the layers, of that in ECR."""
    found = ecr.batch_get_image(repositoryName=REPOSITORIES[image.target], imageIds=[{"imageDigest": digest}])
    manifest = json.loads(found["images"][0]["imageManifest"])
    here = docker("image", "inspect", "--format", "{{.Id}}", image.local).strip()
    return here in (digest, manifest.get("config", {}).get("digest"))


def push(image: Image) -> None:
    """Push by the tag, unless it is there; keep and print the reference by digest. ImageError when the tag is another
    image's: what is scanned here and what is signed there would differ."""
    ecr = _ecr()
    digest = _there(ecr, image)
    if digest and not _is_same(ecr, image, digest):
        raise ImageError(
            f"{image.repository}:{image.tag} is another image, and tags do not change: push with another TAG"
        )
    if digest is None:
        with logged_in(image):
            docker("tag", image.local, f"{image.repository}:{image.tag}")
            docker("push", "--quiet", f"{image.repository}:{image.tag}")
        digest = _there(ecr, image)
    if digest is None:
        raise ImageError(f"{image.repository}:{image.tag} was pushed, and ECR does not know it")
    DIST.mkdir(exist_ok=True)
    image.digest_file.write_text(f"{digest}\n")
    print(image.reference)
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a") as outputs:
            outputs.write(f"repository={image.repository}\ndigest={digest}\n")


def _cosign(*args: str | Path) -> None:
    subprocess.run(["cosign", *args], check=True)


def sign(image: Image) -> None:
    """Sign the digest, and its SBOM beside it, with the identity of the workflow: no key is anywhere."""
    if not image.sbom.exists():
        raise ImageError(f"{image.sbom.relative_to(ROOT)} is not there: an image is signed together with its SBOM")
    with logged_in(image):
        _cosign("sign", "--yes", image.reference)
        _cosign("attest", "--yes", "--type", "cyclonedx", "--predicate", image.sbom, image.reference)


def verify(image: Image) -> None:
    """Whether the workflow of RETAIL_GITHUB_REPOSITORY, on main, signed the image and its SBOM."""
    if not (repository := re.sub(r"@\d+", "", settings().github_repository)):  # the ids are in no certificate
        raise ImageError("RETAIL_GITHUB_REPOSITORY says whose signature is expected")
    who = (
        f"--certificate-identity=https://github.com/{repository}/{WORKFLOW}@refs/heads/main",
        f"--certificate-oidc-issuer=https://{GITHUB_ISSUER}",
    )
    with logged_in(image):
        _cosign("verify", "--output=text", *who, image.reference)
        _cosign("verify-attestation", "--output=text", "--type=cyclonedx", *who, image.reference)


STEPS: dict[str, Callable[[Image], None]] = {
    "base": pin_base,
    "save": save,
    "load": load,
    "push": push,
    "sign": sign,
    "verify": verify,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.publish_images", description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("target", choices=REPOSITORIES)
    parser.add_argument("--tag", default="latest", help="commit and run, in the workflow")
    options = parser.parse_args()
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", options.tag):
        parser.error(f"{options.tag!r} is no tag")
    try:
        os.environ |= {name: value for name, value in local_env().items() if name.startswith(PREFIX)}  # of .env
        STEPS[options.step](Image(options.target, options.tag))
    except subprocess.CalledProcessError as error:
        print(f"{options.step}: {' '.join(map(str, error.cmd[:2]))} ended with {error.returncode}", file=sys.stderr)
        return 1
    except (ImageError, ClientError, BotoCoreError, OSError, ValueError) as error:
        print(f"{options.step}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
