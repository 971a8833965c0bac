"""local.kube is usable without the rest of the project: a process that imports nothing else runs a cluster."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import config, kube_cluster

PROGRAM = Path(__file__).with_name("alone.py")

pytestmark = pytest.mark.integration


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[config.LocalStack]:
    """Free ports and addresses."""
    made = config.load(tmp_path / "stack")
    yield made
    config.forget(made)


def test_a_cluster_with_a_pod_needs_no_other_module_of_the_project(stack: config.LocalStack, tmp_path: Path) -> None:
    arguments = [tmp_path / "cluster", kube_cluster.ensure_binaries(), stack.kube, stack.service_octet]
    done = subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env={"PYTHONPATH": str(config.ROOT), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["readyz"] == "ok"
    assert seen["node"] == "node/node-1 condition met"
    assert seen["pod"] == "pod/web condition met"
    assert "etcd.log" in seen["page"]
    assert seen["pod_ip"].startswith(f"10.{stack.service_octet + 1}.")
    assert seen["components_left"] == []
    assert seen["pod_processes_left"] == []
    others = [name for name in seen["modules"] if name not in ("__main__", "local") and not is_of_kube(name)]
    assert "local.kube.node" in seen["modules"]
    assert others == []


def is_of_kube(module: str) -> bool:
    return module == "local.kube" or module.startswith("local.kube.")
