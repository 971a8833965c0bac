"""The Kubernetes binaries: prebuilt ones of a folder, or built once from the modules' published versions.

They are built with Go as the pinned go.mod and go.sum below `build/` say: minutes on two cores, with the progress on
standard error. A build that was interrupted continues where Go's own build cache left it.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from local.kube.spec import KUBERNETES_VERSION

VERSION: Final = KUBERNETES_VERSION
RECIPES: Final = Path(__file__).with_name("build")
"""A folder per Go module: its go.mod and go.sum."""
GO: Final = (1, 26, 4)
"""The newest version that a go.mod of the recipes asks for."""
REMEDY: Final = (
    "Set KUBE_ASSETS to a folder that has etcd, kube-apiserver, kube-controller-manager, kube-scheduler, "
    "metrics-server and kubectl"
)


class AssetsError(Exception):
    """Why there are no binaries, and what to do."""


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
    """Return the programs that a folder lacks."""
    return [binary.name for binary in BINARIES if not os.access(folder / binary.name, os.X_OK)]


@dataclass(frozen=True)
class Assets:
    """Where binaries may come from.

    cache: below it they are built, in a folder of the version. prebuilt: a folder that has them already (the value of
    KUBE_ASSETS). install_go: installs Go into a folder, for a machine that has none; raises OSError or
    CalledProcessError when it cannot.
    """

    cache: Path
    prebuilt: Path | None = None
    install_go: Callable[[Path], None] | None = None

    def find(self) -> Path | None:
        """Return a folder with all binaries, or None when they are not built yet. Never builds."""
        folder = self._folder()
        return None if missing(folder) else folder

    def ensure(self) -> Path:
        """Return a folder with all binaries, built now if need be (minutes). AssetsError when that is impossible."""
        folder = self._folder()
        if missing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with _build_lock(folder):
                self._build(folder)
        return folder

    def _folder(self) -> Path:
        """Return where the binaries are, or where they will be built. AssetsError when prebuilt ones are incomplete."""
        if not self.prebuilt:
            return self.cache / VERSION
        if lacks := missing(self.prebuilt):
            raise AssetsError(
                f"KUBE_ASSETS={self.prebuilt} lacks {', '.join(lacks)}. {REMEDY}, or unset it to build them"
            )
        return self.prebuilt

    def _build(self, folder: Path) -> None:
        """Build what the folder lacks; each program appears there when it is complete."""
        lacks = [binary for binary in BINARIES if binary.name in missing(folder)]
        if not lacks:
            return
        console = Console(stderr=True, highlight=False)
        go = self.go()
        console.print(f"building Kubernetes {VERSION} once, into {folder} (some minutes)")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as scratch:
            for number, binary in enumerate(lacks, 1):
                started = time.monotonic()
                text = f"[{number}/{len(lacks)}] {binary.name}"
                with console.status(text) if console.is_terminal else contextlib.nullcontext():
                    _compile(go, binary, Path(scratch) / binary.name)
                (Path(scratch) / binary.name).replace(folder / binary.name)
                console.print(f"{text}  {time.monotonic() - started:.0f} s", markup=False)

    def go(self) -> str:
        """Return a Go program that is new enough: the one on PATH, or one that install_go installs below the cache."""
        on_path = shutil.which("go")
        if on_path and _go_version(on_path) >= GO:
            return on_path
        home = self.cache / "go"
        program = home / "bin" / "go"
        if program.exists():
            return str(program)
        required = f"no Go {'.'.join(map(str, GO))} or newer on PATH"
        if not self.install_go:
            raise AssetsError(f"{required}\n{REMEDY}, or install Go")
        try:
            self.install_go(home)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", None) or error
            raise AssetsError(f"{required}, and it cannot be installed: {reason}\n{REMEDY}") from error
        return str(program)


@contextlib.contextmanager
def _build_lock(folder: Path) -> Iterator[None]:
    """Let only one process build at a time; the others wait."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(go: str, binary: Binary, target: Path) -> None:
    """Build one program with Go; AssetsError with Go's message when that fails."""
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
        raise AssetsError(f"{binary.name} does not build:\n{done.stderr[-2000:]}\n{REMEDY}, or fix that and try again")


def _go_version(program: str) -> tuple[int, ...]:
    """Return the version of a Go program; (0,) when it does not print one."""
    done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)\.?(\d*)", done.stdout)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)
