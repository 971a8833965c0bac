"""The steps of an image into ECR: what docker, cosign and ECR are asked, and what each refuses.

docker and cosign are stand-ins that note how they were called; the real ones, and ECR's own login, need an account.
"""

import base64
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli.__main__ import main
from cli.images import docker_image as images
from cli.images.docker_image import DockerImage, DockerImageError
from include.settings import settings
from local.stack import config
from tools import build_images

DIGEST = "sha256:" + "a" * 64
CONFIG = "sha256:" + "c" * 64
REGISTRY = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com"


class Ecr:
    """ECR with what was pushed; the push itself is docker's."""

    def __init__(self, calls: Path):
        self.calls = calls
        self.there = False
        self.config = CONFIG

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        if self.there or "push" in self.calls.read_text():
            return {"imageDetails": [{"imageDigest": DIGEST}]}
        raise ClientError({"Error": {"Code": "ImageNotFoundException", "Message": ""}}, "DescribeImages")

    def batch_get_image(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        return {"images": [{"imageManifest": json.dumps({"config": {"digest": self.config}})}]}

    def get_authorization_token(self) -> dict[str, Any]:
        return {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:the-password").decode()}]}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What docker and cosign were called with, a line a call; docker's password is kept in `stdin`."""
    calls = tmp_path / "calls"
    calls.touch()
    for name in ("docker", "cosign"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {calls}\n'
            f'case "$*" in login*) cat > {tmp_path}/stdin;;\n'
            f'  *.Id*) echo {CONFIG};; image*) echo "python@{DIGEST}";; esac\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(images, "ROOT", tmp_path)
    monkeypatch.setattr(images, "DIST", tmp_path / "dist")
    for name in ("BASE_DIGEST", "GITHUB_OUTPUT", "BASE", "RETAIL_GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.fixture
def ecr(calls: Path, monkeypatch: pytest.MonkeyPatch) -> Ecr:
    fake = Ecr(calls)
    monkeypatch.setattr(images, "_ecr", lambda: fake)
    return fake


def lines(calls: Path) -> list[str]:
    return calls.read_text().splitlines()


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/build_images.py over the folder in which base images are pinned."""
    monkeypatch.setattr(build_images, "lock", lambda target: "0" * 64)
    monkeypatch.setattr(build_images, "version", lambda: "0.1.0")
    monkeypatch.setattr(build_images, "ROOT", tmp_path)
    return build_images


def test_the_base_is_pinned_for_the_build_that_follows(builder, calls):
    images.pin_base(DockerImage("api", "abc"))
    given = builder.arguments("api")
    assert given["BASE"] == f"{build_images.DEFAULT_BASE}@{DIGEST}"
    assert (given["BASE_NAME"], given["BASE_DIGEST"]) == (build_images.DEFAULT_BASE, DIGEST)


def test_a_base_of_ones_own_is_built_on_whatever_was_pinned(builder, calls, monkeypatch):
    images.pin_base(DockerImage("api", "abc"))
    monkeypatch.setenv("BASE", "mirror/python:3.11")
    assert builder.arguments("api")["BASE"] == "mirror/python:3.11"


def test_without_a_pin_the_base_is_a_tag(builder, calls):
    images.pin_base(DockerImage("api", "abc"))
    given = builder.arguments("jobs")
    assert (given["BASE"], given["BASE_DIGEST"]) == (build_images.DEFAULT_BASE, "")


def test_what_is_pushed_is_known_by_its_digest(calls, ecr, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    images.push(DockerImage("api", "abc"))
    assert lines(calls) == [
        f"docker login --username AWS --password-stdin {REGISTRY}",
        f"docker tag retail-api:abc {REGISTRY}/mlops/retail-api:abc",
        f"docker push --quiet {REGISTRY}/mlops/retail-api:abc",
        f"docker logout {REGISTRY}",
    ]
    assert (tmp_path / "stdin").read_text() == "the-password"
    assert capsys.readouterr().out == f"{REGISTRY}/mlops/retail-api@{DIGEST}\n"
    assert (tmp_path / "output").read_text() == f"repository={REGISTRY}/mlops/retail-api\ndigest={DIGEST}\n"


def test_a_tag_that_is_there_is_not_pushed_again(calls, ecr):
    ecr.there = True
    images.push(DockerImage("jobs", "abc"))
    assert lines(calls) == ["docker image inspect --format {{.Id}} retail-jobs:abc"]
    assert DockerImage("jobs", "abc").reference == f"{REGISTRY}/mlops/retail-jobs@{DIGEST}"


def test_a_tag_that_is_another_images_is_refused(calls, ecr):
    ecr.there, ecr.config = True, "sha256:" + "e" * 64
    with pytest.raises(DockerImageError, match="another TAG"):
        images.push(DockerImage("jobs", "abc"))
    assert not images.DIST.exists()


def test_account_of_the_env_file_is_the_one_pushed_to(calls, ecr, monkeypatch, capsys):
    monkeypatch.setenv("RETAIL_ACCOUNT_ID", "123456789012")  # so that it is set back afterwards
    monkeypatch.setattr(images, "local_env", lambda: {"RETAIL_ACCOUNT_ID": "210987654321", "MLOPS_TARGET": "aws"})
    settings.cache_clear()
    try:
        assert main(["docker", "push", "api", "--tag", "abc"]) == 0
    finally:
        settings.cache_clear()
    assert capsys.readouterr().out.startswith("210987654321.dkr.ecr.")


def test_digest_and_sbom_are_signed_without_a_key(calls, ecr):
    ecr.there = True
    image = DockerImage("api", "abc")
    images.push(image)
    image.sbom.write_text(json.dumps({"bomFormat": "CycloneDX"}))
    images.sign(image)
    assert [line for line in lines(calls) if line.startswith("cosign")] == [
        f"cosign sign --yes {image.reference}",
        f"cosign attest --yes --type cyclonedx --predicate {image.sbom} {image.reference}",
    ]


def test_an_image_without_sbom_or_without_digest_is_not_signed(calls, ecr):
    image = DockerImage("api", "abc")
    with pytest.raises(DockerImageError, match="together with its SBOM"):
        images.sign(image)
    images.DIST.mkdir()
    image.sbom.write_text("{}")
    with pytest.raises(DockerImageError, match="make docker-push IMAGE=api"):
        images.sign(image)
    assert not [line for line in lines(calls) if line.startswith("cosign")]


@pytest.mark.parametrize("repository", ["shop/retail", "shop@1/retail@22"])
def test_only_the_workflow_on_main_counts_as_signer(calls, ecr, monkeypatch, repository):
    ecr.there = True
    images.push(DockerImage("api", "abc"))
    with pytest.raises(DockerImageError, match="RETAIL_GITHUB_REPOSITORY"):
        images.verify(DockerImage("api", "abc"))
    monkeypatch.setenv("RETAIL_GITHUB_REPOSITORY", repository)
    settings.cache_clear()
    try:
        images.verify(DockerImage("api", "abc"))
    finally:
        settings.cache_clear()
    checks = [line for line in lines(calls) if line.startswith("cosign")]
    assert len(checks) == 2
    who = "https://github.com/shop/retail/.github/workflows/image.yaml@refs/heads/main"
    assert all(f"--certificate-identity={who} " in check for check in checks)


def test_the_workflow_that_signs_is_there():
    assert (config.ROOT / images.WORKFLOW).is_file()


def test_docker_that_refuses_ends_the_step_and_logs_out(calls, ecr, tmp_path, monkeypatch, capsys):
    script = tmp_path / "bin/docker"
    script.write_text(script.read_text() + '[ "$1" != push ]\n')
    assert main(["docker", "push", "api", "--tag", "abc"]) == 1
    assert "docker: docker push ended with 1" in capsys.readouterr().err
    assert lines(calls)[-1] == f"docker logout {REGISTRY}"


def test_an_image_that_is_not_published_is_refused(calls):
    with pytest.raises(SystemExit):
        main(["docker", "push", "web"])
    assert lines(calls) == []


@pytest.mark.parametrize("tag", ["a b", ""])
def test_a_tag_that_docker_would_refuse_is_refused(tag, calls, capsys):
    assert main(["docker", "push", "api", "--tag", tag]) == 1
    assert "is not a tag of an image" in capsys.readouterr().err
    assert lines(calls) == []
