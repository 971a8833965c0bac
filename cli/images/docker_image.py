"""Publish a Docker image to ECR: `python -m cli docker {base,save,load,push,sign,verify} TARGET`.

`tools/build_images.py` builds `retail-TARGET:TAG`. These steps hand it from the job that builds to the job that may
push, so that what was scanned is what is pushed. A tag is pushed once: ECR refuses to change it. The digest that ECR
gives is kept beside the image, in `dist/TARGET.digest`, for the step that signs it and the person who deploys it.
`dist/TARGET.base` has the base image, by digest, that tools/build_images.py builds on.
"""

import base64
import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from cli.errors import CommandError
from include.settings import API_REPOSITORY, GITHUB_ISSUER, JOBS_REPOSITORY, PREFIX, settings
from local.stack.config import ROOT, local_env
from tools.build_images import DEFAULT_BASE

DIST = ROOT / "dist"
REPOSITORIES = {"api": API_REPOSITORY, "jobs": JOBS_REPOSITORY}
WORKFLOW = ".github/workflows/image.yaml"
"""Whose signature counts."""
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class DockerImageError(CommandError):
    """Says what is missing, and what to do."""


@dataclass(frozen=True)
class DockerImage:
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
        """Return registry/repository@sha256:… of a pushed image."""
        if not self.digest_file.exists():
            raise DockerImageError(
                f"{self.digest_file.relative_to(ROOT)} does not exist: run make docker-push IMAGE={self.target}"
            )
        return f"{self.repository}@{self.digest_file.read_text().strip()}"


def docker(*args: str | Path, stdin: str | None = None) -> str:
    """Run docker and return what it prints. Raise CalledProcessError when it fails; its message is on stderr."""
    done = subprocess.run(["docker", *args], check=True, text=True, input=stdin, stdout=subprocess.PIPE)
    return done.stdout


# --- steps ---
def pin_base(image: DockerImage) -> None:
    """Pull the base image and keep its digest: from then on the image is built on that, until the next pull."""
    name = os.environ.get("BASE", DEFAULT_BASE).partition("@")[0]
    docker("pull", "--quiet", name)
    digests = docker("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name).split()
    pulled = [digest.partition("@")[2] for digest in digests if "@sha256:" in digest]
    if not pulled:
        raise DockerImageError(f"{name} has no digest: it was not pulled from a registry")
    pinned = f"{name}@{pulled[0]}"
    DIST.mkdir(exist_ok=True)
    image.base_file.write_text(f"{pinned}\n")
    print(pinned)


def save(image: DockerImage) -> None:
    """Write the image into a file, for the job that may push it."""
    DIST.mkdir(exist_ok=True)
    docker("save", "--output", image.tar, image.local)


def load(image: DockerImage) -> None:
    """Read the image from the file of the job that built it."""
    docker("load", "--quiet", "--input", image.tar)


def _ecr() -> Any:
    return boto3.client("ecr", region_name=settings().region)


@contextlib.contextmanager
def logged_in(image: DockerImage) -> Iterator[None]:
    """Log docker in to the image's registry while the block runs; cosign uses the same login."""
    token = _ecr().get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    registry = image.repository.partition("/")[0]
    docker("login", "--username", user, "--password-stdin", registry, stdin=password)
    try:
        yield
    finally:
        docker("logout", registry)


def _pushed_digest(ecr: Any, image: DockerImage) -> str | None:
    """Return the digest of the tag in ECR; None if ECR does not have the tag."""
    try:
        images = ecr.describe_images(repositoryName=REPOSITORIES[image.target], imageIds=[{"imageTag": image.tag}])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ImageNotFoundException":
            raise
        return None
    return str(images["imageDetails"][0]["imageDigest"])


def _is_same(ecr: Any, image: DockerImage, digest: str) -> bool:
    """Return whether the local image has the configuration, and so the layers, of that in ECR."""
    images = ecr.batch_get_image(repositoryName=REPOSITORIES[image.target], imageIds=[{"imageDigest": digest}])
    manifest = json.loads(images["images"][0]["imageManifest"])
    local_id = docker("image", "inspect", "--format", "{{.Id}}", image.local).strip()
    return local_id in (digest, manifest.get("config", {}).get("digest"))


def push(image: DockerImage) -> None:
    """Push by the tag, unless ECR has it; keep and print the reference by digest.

    Raise DockerImageError when ECR has another image under the tag: what was scanned and what is signed would differ.
    """
    ecr = _ecr()
    digest = _pushed_digest(ecr, image)
    if digest and not _is_same(ecr, image, digest):
        raise DockerImageError(
            f"{image.repository}:{image.tag} is another image, and tags do not change: push with another TAG"
        )
    if digest is None:
        with logged_in(image):
            docker("tag", image.local, f"{image.repository}:{image.tag}")
            docker("push", "--quiet", f"{image.repository}:{image.tag}")
        digest = _pushed_digest(ecr, image)
    if digest is None:
        raise DockerImageError(f"{image.repository}:{image.tag} was pushed, and ECR does not know it")
    DIST.mkdir(exist_ok=True)
    image.digest_file.write_text(f"{digest}\n")
    print(image.reference)
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a") as outputs:
            outputs.write(f"repository={image.repository}\ndigest={digest}\n")


def _cosign(*args: str | Path) -> None:
    subprocess.run(["cosign", *args], check=True)


def sign(image: DockerImage) -> None:
    """Sign the digest, and its SBOM beside it, with the identity of the workflow: no key is anywhere."""
    if not image.sbom.exists():
        raise DockerImageError(
            f"{image.sbom.relative_to(ROOT)} does not exist: an image is signed together with its SBOM"
        )
    with logged_in(image):
        _cosign("sign", "--yes", image.reference)
        _cosign("attest", "--yes", "--type", "cyclonedx", "--predicate", image.sbom, image.reference)


def verify(image: DockerImage) -> None:
    """Check that the workflow of RETAIL_GITHUB_REPOSITORY, on main, signed the image and its SBOM."""
    if not (repository := re.sub(r"@\d+", "", settings().github_repository)):  # the ids are in no certificate
        raise DockerImageError("set RETAIL_GITHUB_REPOSITORY: it says whose signature is expected")
    signer = (
        f"--certificate-identity=https://github.com/{repository}/{WORKFLOW}@refs/heads/main",
        f"--certificate-oidc-issuer=https://{GITHUB_ISSUER}",
    )
    with logged_in(image):
        _cosign("verify", "--output=text", *signer, image.reference)
        _cosign("verify-attestation", "--output=text", "--type=cyclonedx", *signer, image.reference)


STEPS: dict[str, Callable[[DockerImage], None]] = {
    "base": pin_base,
    "save": save,
    "load": load,
    "push": push,
    "sign": sign,
    "verify": verify,
}


def run(step: str, target: str, tag: str) -> None:
    """Do one of STEPS with an image. Raise CommandError when it cannot be done."""
    if not TAG.fullmatch(tag):
        raise DockerImageError(f"{tag!r} is not a tag of an image")
    os.environ |= {name: value for name, value in local_env().items() if name.startswith(PREFIX)}  # of .env
    try:
        STEPS[step](DockerImage(target, tag))
    except subprocess.CalledProcessError as error:
        command = " ".join(map(str, error.cmd[:2]))
        raise DockerImageError(f"{command} ended with {error.returncode}") from error
    except OSError as error:
        raise DockerImageError(str(error)) from error
