"""Check that no password, key or token is in any file that git knows: `make secrets`, by detect-secrets.

Places without a real secret are listed in KNOWN, each with the reason. An entry that is no longer found fails, too, so
that the list stays short.
"""

import subprocess
import sys
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings

ROOT = Path(__file__).resolve().parents[1]
SKIPPED = ("requirements/",)
"""Folders with the hashes of locks, which look like keys."""
KNOWN = {
    ("benchmarks/serving/servers.py", "Secret Keyword"): "credentials of no account, for a stub of S3",
    ("k8s/alb-controller/controller.yaml", "Secret Keyword"): "the name of a Secret",
    ("k8s/base/deployment.yaml", "Secret Keyword"): "the name of a Secret",
    ("k8s/rendered/eks-alb.yaml", "Secret Keyword"): "the name of a Secret",
    ("k8s/rendered/eks.yaml", "Secret Keyword"): "the name of a Secret",
    ("k8s/rendered/embedded.yaml", "Secret Keyword"): "the name of a Secret",
    ("local/stack/containers/__main__.py", "Secret Keyword"): "the name of a module",
    ("tests/api/http/test_routes.py", "Secret Keyword"): "an API key of a test's own service",
    ("tests/cli/test_ingest.py", "Secret Keyword"): "keys of no account",
    ("tests/k8s/test_manifests.py", "Secret Keyword"): "the name of a Secret",
    ("tests/local/stack/containers/test_airflow.py", "Basic Auth Credentials"): "a URL of no database",
    ("tests/local/stack/containers/test_airflow.py", "Secret Keyword"): "keys of no account",
    ("tests/local/stack/test_config.py", "Base64 High Entropy String"): "the number of no account",
    ("tests/local/kube/test_node.py", "Secret Keyword"): "a value of a test's own Secret",
    ("tests/local/kube/test_volumes.py", "Secret Keyword"): "the name of a Secret",
    ("tests/plugins/hooks/test_sessions.py", "Secret Keyword"): "keys of no account",
    ("tests/plugins/hooks/test_oci_registry.py", "Secret Keyword"): "a password of a test's own registry",
    ("tests/plugins/airflow_env.py", "Secret Keyword"): "a connection of no account",
}


def tracked(root: Path) -> list[str]:
    """Return the files that git knows or would add."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
    return [name for name in names.split("\0") if name and (root / name).is_file() and not name.startswith(SKIPPED)]


def found(root: Path, names: list[str]) -> dict[tuple[str, str], list[int]]:
    """Return (file, kind) → the lines where a secret seems to be."""
    collection = SecretsCollection(root=str(root))
    with default_settings():
        for name in names:
            collection.scan_file(name)
    places: dict[tuple[str, str], list[int]] = {}
    for name, secret in collection:
        places.setdefault((name, secret.type), []).append(secret.line_number)
    return places


def main() -> int:
    """Check every file; the exit status is 1 when there is a secret, or an entry of KNOWN without one."""
    names = tracked(ROOT)
    places = found(ROOT, names)
    wrong = [
        f"{name}:{','.join(map(str, sorted(lines)))} {kind}: remove it, and revoke it where it is valid"
        for (name, kind), lines in sorted(places.items())
        if (name, kind) not in KNOWN
    ]
    wrong += [f"{name}: no {kind} is found any more: remove it from KNOWN" for name, kind in KNOWN.keys() - places]
    print(f"{len(names)} files, {len(KNOWN)} known to hold no secret, {len(wrong)} complaints", *wrong, sep="\n  ")
    return 1 if wrong or not names else 0


if __name__ == "__main__":
    sys.exit(main())
