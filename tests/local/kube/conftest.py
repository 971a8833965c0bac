"""A real control plane for the tests of process nodes, one for all of them, in a local stack of its own."""

from collections.abc import Iterator

import pytest

from local.kube.controlplane import ControlPlane
from local.stack import config, kube_cluster
from tests.local.kube.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    stack = config.load(tmp_path_factory.mktemp("local stack"))
    spec = kube_cluster.spec(stack, stack.state / "kube" / "test")
    plane = ControlPlane(spec, kube_cluster.ensure_binaries())
    try:
        plane.start()
        yield Cluster(spec)
    finally:
        plane.stop()
        config.forget(stack)
