"""The programs of Kubernetes below /kube: the user's own that are mounted there, or built there once by Go."""

import os
from pathlib import Path

from local.kube import assets
from local.stack import kube_cluster

KUBE = Path("/kube")


def find() -> Path:
    """The folder that has them, for KUBE_ASSETS; ConfigError when they are missing and cannot be built."""
    if not assets.missing(KUBE):
        return KUBE
    os.environ.pop("KUBE_ASSETS", None)
    os.environ["XDG_CACHE_HOME"] = str(KUBE)
    os.environ.setdefault("GOPATH", str(KUBE / "go"))
    os.environ.setdefault("GOCACHE", str(KUBE / "go-build"))
    return kube_cluster.ensure_binaries()


def main() -> None:
    print(f"Kubernetes {assets.VERSION}: {find()}")
