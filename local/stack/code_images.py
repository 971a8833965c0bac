"""Run code images: one-layer OCI images of the source that a runtime needs, in a virtual environment of this checkout.

On AWS an image holds an operating system, an interpreter, libraries and the source. Without Docker only the source
can travel: the image names its runtime (label `mlops.runtime`: the environment `.venv/<runtime>`) and the hash of the
lock file that the runtime was installed from (label `mlops.lock`). A machine whose environment differs refuses it.
`cli/images/code_image.py` builds and pushes them.

An image is named as on AWS, `<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:…`, and fetched from the
registry of the AWS emulation, as by a registry mirror of containerd. Tags and other registries are refused.
"""

import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import boto3

from include.settings import API_REPOSITORY, JOBS_REPOSITORY
from local.stack import config
from local.stack.oci_registry import ImageError as ImageError
from local.stack.oci_registry import PullError as PullError
from local.stack.oci_registry import Repository
from local.stack.oci_registry import digest as digest

RUNTIME_LABEL: Final = "mlops.runtime"
LOCK_LABEL: Final = "mlops.lock"
WORKDIR: Final = "/app"
REFERENCE: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com"
    r"/(?P<repository>[a-z0-9]+(?:[._/-][a-z0-9]+)*)@(?P<digest>sha256:[0-9a-f]{64})"
)


@dataclass(frozen=True)
class Contents:
    """What goes into an image: runtime, source paths below the checkout, and the built-in command."""

    runtime: str
    sources: tuple[str, ...]
    command: tuple[str, ...] = ()


CONTENTS: Final = {
    API_REPOSITORY: Contents("api", ("api", "include/__init__.py", "include/baskets"), ("python", "-m", "api")),
    JOBS_REPOSITORY: Contents("jobs", ("include",)),  # each job names its own module
}


@dataclass(frozen=True)
class Recipe:
    """How to run an unpacked image.

    root: folder that stands for the image's `/`; workdir: its working directory, a path of this machine; command and
    args: the image's Entrypoint and Cmd; env: variables, with the runtime's `bin` first in PATH, so that `python` is
    the runtime's.
    """

    root: str
    workdir: str
    command: list[str]
    args: list[str]
    env: dict[str, str]


def environment_of(runtime: str) -> Path:
    """Return the folder of a runtime's virtual environment."""
    return config.ROOT / ".venv" / runtime


def lock_of(runtime: str) -> str | None:
    """Return the hash of the lock file that the runtime was installed from; None if it is not installed."""
    path = environment_of(runtime) / "lock.sha256"
    return path.read_text().strip() if path.exists() else None


def pull(reference: str, session: boto3.Session, endpoint: str, cache: Path, always: bool = False) -> Recipe:
    """Return how to run the image, fetched with the rights of `session` and unpacked once per digest below `cache`.

    always: ask the registry again for an image that is unpacked already (rights may have changed). Raise PullError
    with the reason when the image is refused.
    """
    match = REFERENCE.fullmatch(reference)
    if not match:
        raise PullError(
            f'"{reference}": expected <account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:<64 hex digits>; '
            "tags and other registries are refused"
        )
    wanted = match["digest"]
    home = Path(cache) / wanted.removeprefix("sha256:")
    if always or not home.exists():
        repository = Repository(session, endpoint, match["account"], match["region"], match["repository"])
        manifest = repository.manifest(wanted)
        if not home.exists():
            _unpack(home, manifest, repository.blob)
    return _recipe(json.loads((home / "config.json").read_text()), home / "root")


def _unpack(home: Path, manifest: bytes, blob: Callable[[str], bytes]) -> None:
    """Unpack into a folder beside `home`, which becomes `home` when it is complete."""
    home.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".pull-", dir=home.parent))
    try:
        parts = json.loads(manifest)
        (fresh / "config.json").write_bytes(blob(parts["config"]["digest"]))
        (fresh / "root").mkdir()
        for layer in parts["layers"]:
            with tarfile.open(fileobj=BytesIO(blob(layer["digest"]))) as tar:
                _extract(tar, fresh / "root")
        try:
            fresh.rename(home)
        except OSError:
            if not home.exists():  # else another process pulled it first
                raise
    except tarfile.TarError as error:
        raise PullError(f"a layer cannot be unpacked: {error}") from error
    except (ValueError, LookupError) as error:
        raise PullError(f"not the manifest of an image for one platform: {error!r}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Write the files of a layer one by one: `extractall` has no filter before Python 3.11.4.

    Raise TarError for anything but a file or folder that stays below `folder`.
    """
    for member in tar:
        target = (folder / member.name).resolve()
        if not target.is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name}: a code image holds files and folders below its root, nothing else")
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        assert source is not None, "isfile() holds"  # noqa: S101
        target.write_bytes(source.read())


def _check_runtime(labels: dict[str, str]) -> str:
    """Return the runtime that the labels name. Raise PullError if this machine does not have just that one."""
    runtime = labels.get(RUNTIME_LABEL, "")
    runtimes = sorted(contents.runtime for contents in CONTENTS.values())
    if runtime not in runtimes:
        raise PullError(f"label {RUNTIME_LABEL} is {runtime!r}: a code image names one of {', '.join(runtimes)}")
    if labels.get(LOCK_LABEL) != lock_of(runtime):
        raise PullError(
            f"built for lock {labels.get(LOCK_LABEL)} of runtime {runtime}, this checkout has {lock_of(runtime)}: "
            "run `make install` and `make image`, or, to go back to this image, `make install` in its own checkout"
        )
    return runtime


def _recipe(configuration: dict[str, Any], root: Path) -> Recipe:
    """Return how to run the image with this configuration. Raise PullError if this machine cannot."""
    image = configuration.get("config") or {}
    environment = environment_of(_check_runtime(image.get("Labels") or {}))
    workdir = (root / image.get("WorkingDir", "/").strip("/")).resolve()
    if not workdir.is_relative_to(root.resolve()):
        raise PullError(f"WorkingDir {image['WorkingDir']} leads out of the image")
    env = dict(pair.split("=", 1) for pair in image.get("Env") or [])
    env |= {"PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(environment)}
    return Recipe(str(root), str(workdir), list(image.get("Entrypoint") or []), list(image.get("Cmd") or []), env)
