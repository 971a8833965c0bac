"""Code images: one-layer OCI images of the source that a runtime needs, run in a virtual environment of this checkout.

On AWS an image holds an operating system, an interpreter, libraries and the source. Without Docker only the source
can travel: the image names its runtime (label `mlops.runtime`: the environment `.venv/<runtime>`) and the hash of the
lock file that the runtime was installed from (label `mlops.lock`). A machine whose environment differs refuses it.
The same source and lock give the same digest. Its bill of materials (`local/stack/sbom.py`) is pushed with it.

An image is named as on AWS, `<account>.dkr.ecr.<region>.amazonaws.com/<repository>@sha256:…`, and fetched from the
registry of the embedded AWS, as by a registry mirror of containerd. Tags and other registries are refused.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from include.settings import API_REPOSITORY, JOBS_REPOSITORY, settings
from local.stack import config, sbom

RUNTIME_LABEL: Final = "mlops.runtime"
LOCK_LABEL: Final = "mlops.lock"
WORKDIR: Final = "/app"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
REFERENCE: Final = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com"
    r"/(?P<repository>[a-z0-9]+(?:[._/-][a-z0-9]+)*)@(?P<digest>sha256:[0-9a-f]{64})"
)
TIMEOUT_SECONDS: Final = 30
LONGEST_ERROR: Final = 400

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the registry is on loopback: no proxy


class ImageError(Exception):
    """Why an image cannot be built or pushed, and what to do."""


class PullError(ImageError):
    """Why an image cannot be had; for the person who wrote the reference to it."""


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
class Image:
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


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def environment_of(runtime: str) -> Path:
    return config.ROOT / ".venv" / runtime


def lock_of(runtime: str) -> str | None:
    """Hash of the lock file that the runtime was installed from; None if it is not installed."""
    path = environment_of(runtime) / "lock.sha256"
    return path.read_text().strip() if path.exists() else None


# --- build and push ---------------------------------------------------------------------------
def _files(sources: tuple[str, ...], base: Path) -> Iterator[Path]:
    for source in sources:
        path = base / source
        if not path.exists():
            raise ImageError(f"{path} is not there: it belongs into the image")
        for file in [path] if path.is_file() else path.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
                yield file


def _layer(sources: tuple[str, ...], base: Path) -> bytes:
    """A tar of the files with nothing in it that depends on time, user or machine."""
    layer = BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(_files(sources, base)):
            content = path.read_bytes()
            info = tarfile.TarInfo(f"{WORKDIR.strip('/')}/{path.relative_to(base).as_posix()}")
            info.size, info.mode, info.mtime = len(content), 0o644, 0
            tar.addfile(info, BytesIO(content))
    return layer.getvalue()


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


def build(name: str, base: Path = config.ROOT) -> Image:
    """The code image `mlops/retail-api` or `mlops/retail-jobs` of the source below `base`."""
    if name not in CONTENTS:
        raise ImageError(f"no image is called {name}: there are {', '.join(CONTENTS)}")
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
    return Image(name, manifest, (configuration, layer))


def bill_of(image: Image) -> Image:
    """The image's bill of materials, an artifact of OCI. ImageError when the lock is not the installed one."""
    runtime = CONTENTS[image.name].runtime
    lock = config.ROOT / f"requirements/{runtime}.txt"
    if not lock.exists() or hashlib.sha256(lock.read_bytes()).hexdigest() != lock_of(runtime):
        raise ImageError(f"{environment_of(runtime)} was not installed from {lock}: run `make install`")
    empty, bill = b"{}", sbom.document(image.name, image.digest, lock.read_text())
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": sbom.KIND,
        "config": _descriptor("application/vnd.oci.empty.v1+json", empty),
        "layers": [_descriptor(sbom.KIND, bill)],
        "subject": _descriptor(MANIFEST, image.manifest),
    }
    return Image(image.name, json.dumps(manifest).encode(), (empty, bill))


def _tagged(image: Image) -> tuple[tuple[str, Image], ...]:
    """What lies in the registry of an image: itself and its bill of materials, by their tags."""
    return (image.tag, image), (sbom.tag(image.digest), bill_of(image))


def push(session: boto3.Session, stack: config.LocalStack, image: Image) -> str:
    """Pushes the image, tagged with the start of its digest, and its bill of materials, unless they are there; returns
    its reference by digest."""
    ours = settings()
    registry = _Registry(session, stack.aws_url, ours.account_id, ours.region, image.name)
    for tag, one in _tagged(image):
        if not registry.has(tag):
            for blob in one.blobs:
                registry.upload(blob)
            registry.send("PUT", registry.url(f"manifests/{tag}"), one.manifest, MANIFEST)
    return f"{ours.repository(image.name)}@{image.digest}"


def verify(session: boto3.Session, stack: config.LocalStack, image: Image) -> str:
    """The image's reference, when the registry has just this image with just its bill of materials, byte by byte.
    ImageError says what is missing, or differs: who builds the same source and lock again is its witness."""
    ours = settings()
    registry = _Registry(session, stack.aws_url, ours.account_id, ours.region, image.name)
    for tag, one in _tagged(image):
        if not registry.has(tag):
            raise ImageError(
                f"{image.name}:{tag} is not in the registry: run `make image`, or verify what it was made of"
            )
        if registry.get("manifests", tag) != one.manifest:
            raise ImageError(f"{image.name}:{tag} is not what this source and its lock give")
        for blob in one.blobs:
            registry.get("blobs", digest(blob))
    return f"{ours.repository(image.name)}@{image.digest}"


# --- the registry's HTTP API --------------------------------------------------------------------
def _why(error: urllib.error.HTTPError) -> str:
    """The registry's own words: its answer is {"errors": [{"code", "message"}]}."""
    text = error.read().decode(errors="replace")
    try:
        said = "; ".join(f"{each['code']}: {each['message']}" for each in json.loads(text)["errors"])
    except (ValueError, LookupError, TypeError):
        said = text
    return f"{error.code} {said}"[:LONGEST_ERROR]


class _Registry:
    """A repository of the embedded AWS's registry, opened with the rights of a session."""

    def __init__(self, session: boto3.Session, endpoint: str, account: str, region: str, repository: str) -> None:
        self.endpoint, self.repository = endpoint, repository
        patience = ClientConfig(connect_timeout=5, retries={"total_max_attempts": 2})
        ecr = session.client("ecr", endpoint_url=endpoint, region_name=region, config=patience)
        try:
            answer = ecr.get_authorization_token(registryIds=[account])
        except (ClientError, BotoCoreError) as error:
            raise PullError(f"no password for the registry of {repository}: {error}") from error
        self.password = answer["authorizationData"][0]["authorizationToken"]

    def url(self, rest: str) -> str:
        return f"{self.endpoint}/v2/{self.repository}/{rest}"

    def _request(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> Any:
        headers = {"Authorization": f"Basic {self.password}", **headers}
        request = urllib.request.Request(url, data, headers, method=method)
        return _direct.open(request, timeout=TIMEOUT_SECONDS)

    def has(self, wanted: str) -> bool:
        try:
            with self._request("GET", self.url(f"manifests/{wanted}"), None, {"Accept": MANIFEST}):
                return True
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise ImageError(f"manifest of {self.repository}: {_why(error)}") from error
            return False

    def get(self, kind: str, wanted: str) -> bytes:
        """The manifest or blob with this digest, or the manifest with this tag. PullError if there is none, or if the
        content is not the digest's."""
        what = f"{kind.removesuffix('s')} {wanted} of {self.repository}"
        try:
            with self._request("GET", self.url(f"{kind}/{wanted}"), None, {"Accept": MANIFEST}) as reply:
                data: bytes = reply.read()
        except urllib.error.HTTPError as error:
            raise PullError(f"{what}: {_why(error)}") from error
        except OSError as error:
            raise PullError(f"{what}: {error}") from error
        if ":" in wanted and digest(data) != wanted:
            raise PullError(f"{what}: digest mismatch, the content has {digest(data)}")
        return data

    def send(self, method: str, url: str, data: bytes, kind: str) -> str:
        """The Location that the registry answers."""
        try:
            with self._request(method, url, data, {"Content-Type": kind}) as reply:
                return str(reply.headers["Location"])
        except urllib.error.HTTPError as error:
            hint = "; does the repository exist? The DAG provision makes it" if error.code == 404 else ""
            raise ImageError(f"push to {self.repository}: {_why(error)}{hint}") from error
        except OSError as error:
            raise ImageError(f"push to {self.repository}: {error}") from error

    def upload(self, data: bytes) -> None:
        kind = "application/octet-stream"
        place = urllib.parse.urljoin(self.endpoint, self.send("POST", self.url("blobs/uploads/"), b"", kind))
        joint = "&" if "?" in place else "?"
        self.send("PUT", f"{place}{joint}digest={digest(data)}", data, kind)


# --- pull -------------------------------------------------------------------------------------
def pull(reference: str, session: boto3.Session, endpoint: str, cache: Path, always: bool = False) -> Recipe:
    """How to run the image, fetched with the rights of `session` and unpacked once per digest below `cache`.

    always: ask the registry again for an image that is unpacked already (rights may have changed). PullError says
    why an image is refused.
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
        registry = _Registry(session, endpoint, match["account"], match["region"], match["repository"])
        manifest = registry.get("manifests", wanted)
        if not home.exists():
            _unpack(home, manifest, lambda blob: registry.get("blobs", blob))
    return _recipe(json.loads((home / "config.json").read_text()), home / "root")


def _unpack(home: Path, manifest: bytes, blob: Callable[[str], bytes]) -> None:
    """Into a folder beside `home` that becomes it when it is whole."""
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
            if not home.exists():  # else another puller was faster
                raise
    except tarfile.TarError as error:
        raise PullError(f"a layer cannot be unpacked: {error}") from error
    except (ValueError, LookupError) as error:
        raise PullError(f"not the manifest of an image for one platform: {error!r}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """The files of a layer, by hand: `extractall` knows no filter before Python 3.11.4, and a code image has no more.

    TarError for anything but a file or folder that stays below `folder`.
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


def _recipe(configuration: dict[str, Any], root: Path) -> Recipe:
    """PullError if this machine does not have the runtime that the image was built for."""
    ours = configuration.get("config") or {}
    labels = ours.get("Labels") or {}
    runtime, runtimes = labels.get(RUNTIME_LABEL), sorted(contents.runtime for contents in CONTENTS.values())
    if runtime not in runtimes:
        raise PullError(f"label {RUNTIME_LABEL} is {runtime}: a code image names one of {', '.join(runtimes)}")
    if labels.get(LOCK_LABEL) != lock_of(runtime):
        raise PullError(
            f"built for lock {labels.get(LOCK_LABEL)} of runtime {runtime}, this checkout has {lock_of(runtime)}: "
            "run `make install` and `make image`, or, to go back to this image, `make install` in its own checkout"
        )
    workdir = (root / ours.get("WorkingDir", "/").strip("/")).resolve()
    if not workdir.is_relative_to(root.resolve()):
        raise PullError(f"WorkingDir {ours['WorkingDir']} leads out of the image")
    environment = environment_of(runtime)
    env = dict(pair.split("=", 1) for pair in ours.get("Env") or [])
    env |= {"PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(environment)}
    return Recipe(str(root), str(workdir), list(ours.get("Entrypoint") or []), list(ours.get("Cmd") or []), env)
