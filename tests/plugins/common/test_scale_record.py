"""The record of a scaled-down environment: what it keeps, and that a later look never replaces an earlier one."""

import datetime as dt

import pytest

from include.hours import ZONE
from retail_mlops.common.node_groups import NodeGroup
from retail_mlops.common.scale_record import Autoscaler, Phase, Record, Saving, State, Workload

UP = State(
    node_groups=(NodeGroup(name="general", minimum=1, desired=3, maximum=5),),
    workloads=(Workload(name="retail-api", replicas=4),),
    autoscalers=(Autoscaler(name="retail-api", minimum=2, maximum=10),),
    services=({"kind": "Service", "metadata": {"name": "retail-api-public"}, "spec": {"ports": [{"port": 8088}]}},),
    open_nodes=("i-1", "i-2"),
    release="v3-abc",
)
HALF_DOWN = State(
    node_groups=(NodeGroup(name="general", minimum=0, desired=0, maximum=5),),
    workloads=(Workload(name="retail-api", replicas=0),),
    autoscalers=(Autoscaler(name="retail-api", minimum=2, maximum=10),),
)


def local(day, hour, minute=0):
    """In the week of Monday, 2026-11-23."""
    return dt.datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


def test_half_stopped_environment_never_replaces_a_good_record():
    assert UP.with_new(HALF_DOWN) == UP


def test_what_came_after_the_record_is_added_to_it():
    later = State(workloads=(Workload(name="retail-api", replicas=0), Workload(name="canary", replicas=1)))
    assert UP.with_new(later).workloads == (
        Workload(name="retail-api", replicas=4),
        Workload(name="canary", replicas=1),
    )


def test_state_is_one_line_of_text():
    assert str(UP) == (
        "node group general with 3 nodes; Deployment retail-api with 4 replicas; autoscaler retail-api of 2 to 10; "
        "endpoint retail-api-public; release v3-abc"
    )


def test_record_survives_s3():
    record = Record(
        phase=Phase.DOWN,
        owner="scale_down/manual__1",
        state=UP,
        savings=(Saving(what="EC2 t3.medium", count=3, usd_per_hour=0.1),),
        off_since=local(25, 22),
        planned_until=local(26, 7),
    )
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_record_of_another_version_is_refused():
    with pytest.raises(ValueError, match="colour"):
        Record.model_validate({"phase": "down", "owner": "a/b", "colour": "red"})


def test_claim_stays_a_claim_in_other_hands():
    claim = Record(phase=Phase.CLAIMED, owner="scale_down/1")
    assert claim.with_owner("scale_up/1", Phase.COMING_UP).phase is Phase.CLAIMED
    assert claim.model_copy(update={"state": UP}).with_owner("scale_up/1", Phase.COMING_UP).phase is Phase.COMING_UP


def test_service_and_ingress_of_one_name_are_two_endpoints():
    ingress = {"kind": "Ingress", "metadata": {"name": "retail-api-public"}, "spec": {}}
    assert {service["kind"] for service in UP.with_new(State(services=(ingress,))).services} == {"Service", "Ingress"}
