"""Fetches the CustomResourceDefinitions of the AWS Load Balancer Controller into crds.yaml, for provision to apply.

They are the project's own (Apache-2.0), from its published Go module, whose hash is the one that go.sum would have.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from local.stack import config, kube_cluster

FOLDER = config.ROOT / "k8s" / "alb-controller"
MODULE = "sigs.k8s.io/aws-load-balancer-controller"
VERSION = "v0.0.0-20260423195125-93ff3b5fdaad"
"""The commit of v3.2.2: the module's path has no /v3, so that Go knows its releases by commit only."""
SUM = "h1:um5R2nbXcfFJoHX8WZJZU+1uwuofXwR0V9FCF4sdK7g="
FILES = ("elbv2.k8s.aws_ingressclassparams.yaml", "elbv2.k8s.aws_targetgroupbindings.yaml")


def download(folder: str) -> Path:
    """The module's folder, in Go's own cache; exits with Go's message, or when it is another module than was pinned."""
    command = [kube_cluster.go(), "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout or "{}")
    if done.returncode or found.get("Error"):
        sys.exit(f"{MODULE}@{VERSION} cannot be had: {found.get('Error') or done.stderr.strip()}")
    if found["Sum"] != SUM:
        sys.exit(f"{MODULE}@{VERSION} has the hash {found['Sum']}, not {SUM}: somebody changed it")
    return Path(found["Dir"])


def main() -> None:
    with tempfile.TemporaryDirectory() as nowhere:  # outside any module
        bases = download(nowhere) / "config" / "crd" / "bases"
    text = b"".join((bases / name).read_bytes() for name in FILES)
    wanted, name = (FOLDER / "crds.sha256").read_text().split()
    if (found := hashlib.sha256(text).hexdigest()) != wanted:
        sys.exit(f"what was fetched has SHA-256 {found}: write that to crds.sha256 if it is what you want")
    (FOLDER / name).write_bytes(text)
    print(f"k8s/alb-controller/{name}: {', '.join(FILES)} of {VERSION}")


if __name__ == "__main__":
    main()
