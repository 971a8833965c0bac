"""A real control plane for the tests of process nodes, one for all of them, in a local stack of its own."""

from collections.abc import Iterator

import pytest

from local.kube.controlplane import ControlPlane
from local.stack import config
from tests.local.kube.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    stack = config.load(tmp_path_factory.mktemp("local stack"))
    plane = ControlPlane(stack.state / "kube" / "test", stack)
    try:
        plane.start()
        yield Cluster(stack, plane.folder, plane.kubeconfig)
    finally:
        plane.stop()
        config.forget(stack)
