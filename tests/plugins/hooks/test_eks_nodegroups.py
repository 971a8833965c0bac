"""Sizes of node groups: an update that is under way is waited for, a refusal is not the end. EKS answers by Stubber."""

import boto3
import pytest
from botocore.stub import Stubber

from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.errors import RetailError
from retail_mlops.common.node_groups import NodeGroup
from retail_mlops.hooks.eks_nodegroups import NodeGroupHook

GROUP = settings().nodegroup
ASKED = {"clusterName": CLUSTER_NAME, "nodegroupName": GROUP}
WANTED = NodeGroup(name=GROUP, minimum=0, desired=0, maximum=10)
UPDATE = {**ASKED, "scalingConfig": {"minSize": 0, "desiredSize": 0, "maxSize": 10}}


@pytest.fixture
def stub(monkeypatch):
    client = boto3.client("eks", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")
    monkeypatch.setattr(NodeGroupHook, "conn", client)
    with Stubber(client) as made:
        yield made
        made.assert_no_pending_responses()


def described(stub, status="ACTIVE", name=GROUP):
    group = {
        "nodegroupName": name,
        "status": status,
        "scalingConfig": {"minSize": 1, "desiredSize": 3, "maxSize": 10},
        "health": {"issues": [{"code": "AsgInstanceLaunchFailures", "message": "no Spot capacity"}]},
    }
    stub.add_response("describe_nodegroup", {"nodegroup": group}, {**ASKED, "nodegroupName": name})


def test_no_cluster_is_an_answer(stub):
    stub.add_client_error("describe_cluster", "ResourceNotFoundException", expected_params={"name": CLUSTER_NAME})
    assert NodeGroupHook().has_cluster() is False


def test_groups_that_are_being_deleted_are_not_there_any_more(stub):
    names = [GROUP, "old"]
    stub.add_response("list_nodegroups", {"nodegroups": names}, {"clusterName": CLUSTER_NAME})
    described(stub)
    described(stub, status="DELETING", name="old")
    assert NodeGroupHook().groups() == [NodeGroup(name=GROUP, minimum=1, desired=3, maximum=10)]


def test_update_under_way_is_waited_for(stub):
    described(stub, status="UPDATING")
    described(stub, status="UPDATING")
    described(stub)
    stub.add_response("update_nodegroup_config", {}, UPDATE)
    NodeGroupHook().scale(WANTED, timeout=10, poll=0.01)


def test_group_of_that_size_is_left_alone(stub):
    described(stub)
    NodeGroupHook().scale(NodeGroup(name=GROUP, minimum=1, desired=3, maximum=10), timeout=10, poll=0.01)


def test_degraded_group_is_scaled_all_the_same(stub):
    described(stub, status="DEGRADED")
    stub.add_response("update_nodegroup_config", {}, UPDATE)
    NodeGroupHook().scale(WANTED, timeout=10, poll=0.01)


@pytest.mark.parametrize("code", ["ResourceInUseException", "InvalidRequestException"])
def test_update_that_began_in_between_is_waited_for(stub, code):
    described(stub)
    stub.add_client_error("update_nodegroup_config", code, expected_params=UPDATE)
    described(stub)
    stub.add_response("update_nodegroup_config", {}, UPDATE)
    NodeGroupHook().scale(WANTED, timeout=10, poll=0.01)


def test_update_that_does_not_end_is_refused_with_the_way_out(stub):
    described(stub, status="UPDATING")
    with pytest.raises(RetailError, match="still UPDATING: run this again"):
        NodeGroupHook().scale(WANTED, timeout=-1, poll=0.01)


def test_other_refusals_are_not_repeated(stub):
    described(stub)
    stub.add_client_error("update_nodegroup_config", "InvalidParameterException", expected_params=UPDATE)
    with pytest.raises(NodeGroupHook().conn.exceptions.InvalidParameterException):
        NodeGroupHook().scale(WANTED, timeout=10, poll=0.01)


def test_missing_group_is_named(stub):
    stub.add_client_error("describe_nodegroup", "ResourceNotFoundException", expected_params=ASKED)
    with pytest.raises(RetailError, match=f"no node group {GROUP}"):
        NodeGroupHook().scale(WANTED, timeout=10, poll=0.01)


def test_issues_are_what_eks_says(stub):
    described(stub)
    assert NodeGroupHook().issues(GROUP) == "AsgInstanceLaunchFailures: no Spot capacity"
