"""Download the CustomResourceDefinitions of the AWS Load Balancer Controller into crds.yaml, for provision to apply.

They are those of the controller's project (Apache-2.0), from its published Go module, checked by the hash of go.sum.
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
    """Return the module's folder in Go's own cache. Exit with Go's message, or when the hash is not the pinned one."""
    command = [kube_cluster.go(), "mod", "download", "-json", f"{MODULE}@{VERSION}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    module = json.loads(done.stdout or "{}")
    if done.returncode or module.get("Error"):
        sys.exit(f"{MODULE}@{VERSION} cannot be downloaded: {module.get('Error') or done.stderr.strip()}")
    if module["Sum"] != SUM:
        sys.exit(f"{MODULE}@{VERSION} has the hash {module['Sum']}, expected {SUM}: it was changed after publication")
    return Path(module["Dir"])


def main() -> None:
    """Download the definitions, check their hash, and write them."""
    with tempfile.TemporaryDirectory() as nowhere:  # outside any module
        bases = download(nowhere) / "config" / "crd" / "bases"
    text = b"".join((bases / name).read_bytes() for name in FILES)
    wanted, name = (FOLDER / "crds.sha256").read_text().split()
    sha256 = hashlib.sha256(text).hexdigest()
    if sha256 != wanted:
        sys.exit(f"the downloaded files have SHA-256 {sha256}: write it to crds.sha256 if you want this version")
    (FOLDER / name).write_bytes(text)
    print(f"k8s/alb-controller/{name}: {', '.join(FILES)} of {VERSION}")


if __name__ == "__main__":
    main()
