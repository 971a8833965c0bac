"""What still runs after scale_down, and which of it goes by itself."""

import pytest

from retail_mlops.schedule.running_resources import Balancer, Instance
from retail_mlops.schedule.still_running import find_leftovers, table


def test_nothing_left_is_an_empty_list():
    assert find_leftovers([], [], [], []) == []


def test_everything_left_is_named_in_the_table():
    leftovers = find_leftovers(
        ["i-1"],
        [Instance(id="i-1", type="t3.medium", state="running", node_group="general")],
        [Balancer(name="a123", addresses=2)],
        [{"kind": "Service", "metadata": {"name": "retail-api-public"}}],
    )
    assert table(leftovers).splitlines() == [
        "| what          | name              | why                                       |",
        "|:--------------|:------------------|:------------------------------------------|",
        "| node          | i-1               | registered in the cluster                 |",
        "| EC2 instance  | i-1               | t3.medium, running, of node group general |",
        "| Service       | retail-api-public | a public endpoint                         |",
        "| load balancer | a123              | of no Service and no Ingress              |",
    ]


@pytest.mark.parametrize(
    ("instance", "balancer", "goes"),
    [
        ({"state": "running", "node_group": "general"}, {"service": "mlops/retail-api-public"}, [True, True]),
        ({"state": "running"}, {}, [False, False]),
        ({"state": "shutting-down"}, {}, [True, False]),
    ],
)
def test_only_what_eks_takes_away_is_waited_for(instance, balancer, goes):
    leftovers = find_leftovers(
        [], [Instance(id="i-1", type="t3.small", **instance)], [Balancer(name="a", addresses=0, **balancer)], []
    )
    assert [leftover.goes_by_itself for leftover in leftovers] == goes
