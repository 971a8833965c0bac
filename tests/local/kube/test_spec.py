"""Ports and addresses of clusters and nodes."""

from pathlib import Path

import pytest

from local.kube.components import PORTS
from local.kube.spec import CONTROL_PLANE_PORTS, MAX_NODES, ClusterSpec

CLUSTER = ClusterSpec(folder=Path("/cluster"), first_port=21443, service_octet=32)


def test_nodes_have_ports_and_addresses_of_their_own() -> None:
    nodes = [CLUSTER.node(f"node-{slot}", slot, {"cpu": "2"}) for slot in range(MAX_NODES)]
    assert [node.pod_octet for node in nodes] == list(range(33, 33 + MAX_NODES))
    ports = [node.kubelet_port for node in nodes]
    assert ports == list(range(21443 + len(PORTS), 21443 + len(PORTS) + MAX_NODES))


def test_the_control_plane_has_a_port_for_each_listener() -> None:
    assert len(PORTS) == CONTROL_PLANE_PORTS


@pytest.mark.parametrize("slot", [-1, 15])
def test_a_sixteenth_node_is_refused(slot: int) -> None:
    with pytest.raises(ValueError, match="15 nodes"):
        CLUSTER.node("node", slot, {})
