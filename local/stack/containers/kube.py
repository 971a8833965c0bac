"""Find the programs of Kubernetes below /kube: mounted there by the user, or built there once by Go."""

import os
from pathlib import Path

from local.kube import assets
from local.stack import kube_cluster

KUBE = Path("/kube")


def find() -> Path:
    """Return the folder that has them, for KUBE_ASSETS. Raise ConfigError when they are missing and do not build."""
    if not assets.missing(KUBE):
        return KUBE
    os.environ.pop("KUBE_ASSETS", None)
    os.environ["XDG_CACHE_HOME"] = str(KUBE)
    os.environ.setdefault("GOPATH", str(KUBE / "go"))
    os.environ.setdefault("GOCACHE", str(KUBE / "go-build"))
    return kube_cluster.ensure_binaries()


def main() -> None:
    """Find or build the programs, and print where they are."""
    print(f"Kubernetes {assets.VERSION}: {find()}")
