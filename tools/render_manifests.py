"""Render the overlays into k8s/rendered, which deploy applies; with --check compare and fail when they are stale."""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
K8S = ROOT / "k8s"
OVERLAYS = ("eks", "eks-alb", "embedded")


def kubectl() -> str:
    """Return $KUBECTL, that of $KUBE_ASSETS, one on PATH, or else that of the local stack (built at first use)."""
    if named := os.environ.get("KUBECTL"):
        return named
    if assets := os.environ.get("KUBE_ASSETS"):
        return str(Path(assets) / "kubectl")
    if program := shutil.which("kubectl"):
        return program
    sys.path.insert(0, str(ROOT))
    from local.stack import kube_cluster

    return str(kube_cluster.ensure_binaries() / "kubectl")


def render(overlay: str, program: str) -> str:
    """Return the manifests of one overlay as YAML documents. Exit with kubectl's message when they do not build."""
    done = subprocess.run(
        [program, "kustomize", K8S / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"k8s/overlays/{overlay} does not build: {done.stderr.strip()}")
    return f"# Rendered from k8s/overlays/{overlay} by `make manifests`: edit that, not this.\n{done.stdout}"


def main() -> int:
    """Write every overlay, or compare them; the exit status is 1 when one is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with k8s/rendered, write nothing")
    check = parser.parse_args().check
    program, stale = kubectl(), 0
    for overlay in OVERLAYS:
        path = K8S / "rendered" / f"{overlay}.yaml"
        fresh = render(overlay, program)
        before = path.read_text() if path.exists() else ""
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(fresh)
        elif fresh != before:
            stale += 1
            names = f"k8s/rendered/{overlay}.yaml", f"k8s/overlays/{overlay}"
            sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), fresh.splitlines(True), *names))
    if stale:
        print("rendered manifests are stale: run `make manifests`")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
