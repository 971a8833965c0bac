"""The size of a node group that is stopped, and the size to restore."""

from include.settings import settings
from retail_mlops.common.node_groups import NodeGroup, size_to_restore


def test_stopped_group_keeps_a_maximum_that_aws_accepts():
    assert NodeGroup(name="g", minimum=1, desired=3, maximum=5).stopped() == NodeGroup(
        name="g", minimum=0, desired=0, maximum=5
    )
    assert NodeGroup(name="g", minimum=0, desired=0, maximum=0).stopped().maximum == 1


def test_group_that_the_backstop_stopped_is_recorded_at_its_stacks_size():
    stopped = NodeGroup(name=settings().nodegroup, minimum=0, desired=0, maximum=10)
    assert size_to_restore(stopped).desired == settings().node_count
    assert size_to_restore(stopped.model_copy(update={"desired": 1})).desired == 1
    assert size_to_restore(stopped.model_copy(update={"name": "other"})).desired == 0
