"""Loading: permanent refusals, retries, and a package that is rejected after the start."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api.model import loader as loading
from api.model.loader import Loader
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics
from tests.api.conftest import Release
from tests.api.stub_aws import BUCKET, KEY, StubAws
from tests.waiting import until

OBJECT = f"/{BUCKET}/{KEY}"


class Loading:
    """A running loader; `wait` returns when its state meets a condition."""

    def __init__(self, release: Release, **changes: str) -> None:
        self.state = State(release.config(**changes))
        self.stream = io.BytesIO()
        self.metrics = Metrics()
        self.loader = Loader(self.state, Log(self.stream), self.metrics)

    def wait(self, condition: Callable[[State], Any], seconds: float = 10) -> None:
        until(lambda: condition(self.state), seconds, f"{self.state}", longest=0.02)

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]


@pytest.fixture
def load(
    release: Release, aws_environment: StubAws, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Loading]]:
    monkeypatch.setattr(loading, "FIRST_RETRY_SECONDS", 0.05)
    started: list[Loading] = []

    def start_loader(**changes: str) -> Loading:
        started.append(Loading(release, **changes))
        started[-1].loader.start()
        return started[-1]

    yield start_loader
    for loaded in started:
        loaded.loader.stop()
        loaded.loader.join(10)


def test_approved_release_is_loaded(load: Callable[..., Loading], release: Release) -> None:
    loaded = load()

    loaded.wait(lambda state: state.ready)
    assert loaded.state.approved
    assert loaded.state.bundle is not None
    assert loaded.state.bundle.digest == release.digest
    assert release.digest in loaded.metrics.text().decode()


@pytest.mark.parametrize("approval", ["PendingManualApproval", "Rejected"])
def test_unapproved_package_is_refused(load: Callable[..., Loading], aws: StubAws, approval: str) -> None:
    aws.approval = approval
    loaded = load()

    loaded.wait(lambda state: state.refusal)
    assert f"is {approval}, not Approved" in (loaded.state.refusal or "")
    assert not loaded.state.ready
    assert OBJECT not in aws.calls, "nothing is fetched before approval is known"


def test_package_of_another_bundle_is_refused(load: Callable[..., Loading], aws: StubAws) -> None:
    aws.digest = "0" * 64
    loaded = load()

    loaded.wait(lambda state: state.refusal)
    assert "was approved for bundle 000" in (loaded.state.refusal or "")


def test_bundle_with_another_digest_is_refused(load: Callable[..., Loading], aws: StubAws) -> None:
    aws.digest = "1" * 64
    loaded = load(BUNDLE_DIGEST="1" * 64)

    loaded.wait(lambda state: state.refusal)
    assert "1" * 64 in (loaded.state.refusal or "")


def test_missing_object_is_refused(load: Callable[..., Loading], aws: StubAws) -> None:
    aws.objects.clear()
    loaded = load()

    loaded.wait(lambda state: state.refusal)
    assert "the object does not exist" in (loaded.state.refusal or "")


def test_loading_is_retried_while_s3_is_down(load: Callable[..., Loading], aws: StubAws) -> None:
    aws.stop()
    loaded = load()
    loaded.wait(lambda _: loaded.events("waiting"))
    assert "waiting for AWS" in loaded.state.reason
    assert not loaded.state.ready

    aws.start()
    loaded.wait(lambda state: state.ready, 20)


def test_package_rejected_later_is_served_with_a_warning(load: Callable[..., Loading], aws: StubAws) -> None:
    loaded = load(APPROVAL_CHECK_SECONDS="0.05")
    loaded.wait(lambda state: state.ready)

    aws.approval = "Rejected"
    loaded.wait(lambda _: loaded.events("not_approved"))
    assert loaded.state.ready
    assert "retail_api_model_approved 0.0" in loaded.metrics.text().decode()


def test_model_is_served_on_while_aws_is_down(load: Callable[..., Loading], aws: StubAws) -> None:
    loaded = load(APPROVAL_CHECK_SECONDS="0.05")
    loaded.wait(lambda state: state.ready)

    aws.stop()
    loaded.wait(lambda _: loaded.events("approval_unknown"))
    assert loaded.state.ready


# --- broken archives ---


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def with_a_flipped_byte(directory: Path, name: str) -> bytes:
    contents = {path.name: bytearray(path.read_bytes()) for path in directory.iterdir()}
    contents[name][len(contents[name]) // 2] ^= 1
    return packed(*((member(key), bytes(value)) for key, value in sorted(contents.items())))


@pytest.mark.parametrize("name", ["model.onnx", "products.npz", "baseline.json", "metrics.json", "manifest.json"])
def test_flipped_byte_is_refused(load: Callable[..., Loading], aws: StubAws, release: Release, name: str) -> None:
    aws.objects[OBJECT] = with_a_flipped_byte(release.directory, name)
    loaded = load()

    loaded.wait(lambda state: state.refusal)
    assert "the bundle is refused" in (loaded.state.refusal or "")


def archives(release: Release) -> dict[str, bytes]:
    tar = gzip.decompress(release.archive)
    return {
        "not an archive": b"<html>",
        "empty": b"",
        "cut off": release.archive[: len(release.archive) // 2],
        "cut off inside the tar": gzip.compress(tar[: len(tar) // 2]),
        "damaged": release.archive[:200] + bytes(100) + release.archive[300:],
        "parent folder": packed((member("../manifest.json"), b"x")),
        "absolute": packed((member("/etc/manifest.json"), b"x")),
        "folder": packed((member("a/manifest.json"), b"x")),
        "symbolic link": packed((member("manifest.json", tarfile.SYMTYPE, "/etc/passwd"), b"")),
        "hard link": packed((member("manifest.json", tarfile.LNKTYPE, "/etc/passwd"), b"")),
        "device": packed((member("manifest.json", tarfile.CHRTYPE), b"")),
        "unknown member": packed((member("setup.py"), b"x")),
        "no manifest": packed(),
    }


@pytest.mark.parametrize("name", archives(Release(Path(), gzip.compress(b""), "")))
def test_broken_archive_is_refused(load: Callable[..., Loading], aws: StubAws, release: Release, name: str) -> None:
    aws.objects[OBJECT] = archives(release)[name]
    loaded = load()

    loaded.wait(lambda state: state.refusal)
    assert not loaded.state.ready
