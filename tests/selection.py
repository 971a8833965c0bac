"""Which fault tests a run of the pipeline takes: a rotating part of them, and those whose subject has changed.

Only tests marked `faults` are ever left out, and only when `--rotate` is given: `make test-faults` and the nightly
workflow run them all.
"""

import hashlib
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EVERY_FILE = ("tests/integration/conftest.py", "tests/private_stack.py", "tests/waiting.py", "requirements/")
"""Paths that are the subject of every file with fault tests."""
SUBJECTS = {
    "tests/cli/test_commands.py": ("cli/", "local/__init__.py", "local/stack/"),
    "tests/integration/test_faults.py": (
        "cli/",
        "dags/",
        "include/",
        "local/__init__.py",
        "local/aws/",
        "local/data/",
        "local/stack/",
        "plugins/.airflowignore",
        "plugins/retail_plugin.py",
        "plugins/retail_mlops/common/",
        "plugins/retail_mlops/etl/",
        "plugins/retail_mlops/hooks/",
        "plugins/retail_mlops/operators/",
        "plugins/retail_mlops/training/",
        "plugins/retail_mlops/triggers/",
    ),
    "tests/integration/test_kills.py": (
        "dags/etl.py",
        "dags/train.py",
        "local/aws/sagemaker/",
        "plugins/retail_mlops/__init__.py",
        "plugins/retail_mlops/common/",
        "plugins/retail_mlops/etl/",
        "plugins/retail_mlops/operators/",
        "plugins/retail_mlops/training/",
        "plugins/retail_mlops/triggers/",
    ),
    "tests/integration/test_permissions.py": (
        "infra/",
        "local/aws/",
        "plugins/retail_mlops/hooks/",
        "plugins/retail_mlops/operators/",
        "plugins/retail_mlops/schedule/",
        "plugins/retail_mlops/triggers/",
        "tests/integration/airflow_steps.py",
    ),
    "tests/integration/test_provision.py": ("dags/provision.py", "infra/", "k8s/", "plugins/retail_mlops/provision/"),
    "tests/integration/test_scale.py": (
        "dags/scale_down.py",
        "dags/scale_up.py",
        "local/aws/eks/",
        "plugins/retail_mlops/schedule/",
    ),
    "tests/integration/test_serving.py": (
        "api/",
        "benchmarks/load.py",
        "dags/deploy.py",
        "k8s/",
        "local/aws/eks/",
        "local/kube/",
        "plugins/retail_mlops/hooks/",
        "plugins/retail_mlops/operators/",
        "plugins/retail_mlops/release/",
    ),
    "tests/integration/test_teardown.py": (
        "dags/teardown.py",
        "infra/",
        "local/aws/cloudformation/",
        "plugins/retail_mlops/teardown/",
    ),
}
"""File with fault tests → the paths that it is about: a file, or a folder with everything in it."""


@dataclass(frozen=True)
class Rotation:
    """One of `parts` equal shares of the fault tests, numbered from 1."""

    part: int
    parts: int

    @classmethod
    def parse(cls, text: str) -> "Rotation":
        """Read `K/N`; ValueError unless 1 <= K <= N."""
        part, slash, parts = text.partition("/")
        if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
            raise ValueError(f"--rotate={text} is not K/N with 1 <= K <= N, for example 2/3")
        return cls(int(part), int(parts))

    def takes(self, unit: str) -> bool:
        """Tell whether this part has a unit: by the unit's name alone, so that other tests do not move it."""
        return int.from_bytes(hashlib.sha256(unit.encode()).digest()[:8]) % self.parts + 1 == self.part


def unit(nodeid: str, together: bool) -> str:
    """Return what is selected as one: a test, or its whole file when the file's tests need each other."""
    return nodeid.partition("::")[0] if together else nodeid


def touched(files: Iterable[str], changed: Iterable[str]) -> set[str]:
    """Return those of the test files that changed, or whose subject did."""
    paths = list(changed)
    return {file for file in files if any(_is_in(path, (file, *EVERY_FILE, *SUBJECTS.get(file, ()))) for path in paths)}


def _is_in(path: str, places: Iterable[str]) -> bool:
    return any(path.startswith(place) if place.endswith("/") else path == place for place in places)


def changed_since(revision: str, root: Path) -> list[str]:
    """Return the paths that differ from a revision, uncommitted ones and both names of a moved file included.

    ValueError when git does not know the revision.
    """
    command = ["git", "diff", "--name-only", "--no-renames", "-z", revision, "--"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"--changed-since={revision}: {done.stderr.strip()}")
    return [path for path in done.stdout.split("\0") if path]
