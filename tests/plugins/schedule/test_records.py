"""The cost schedule's rules: what is recorded and kept, who goes first, what counts as left, hours and money."""

import datetime as dt

import pytest

from include import costs
from include.costs import Kind
from include.hours import ZONE
from include.settings import settings
from retail_mlops.schedule import records as scaling
from retail_mlops.schedule.records import (
    Autoscaler,
    Balancer,
    Instance,
    NodeGroup,
    Phase,
    Record,
    Saving,
    State,
    Workload,
)

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


# --- what is recorded ---
def test_half_stopped_environment_never_replaces_a_good_record():
    assert UP.with_new(HALF_DOWN) == UP


def test_what_came_after_the_record_is_added_to_it():
    later = State(workloads=(Workload(name="retail-api", replicas=0), Workload(name="canary", replicas=1)))
    assert UP.with_new(later).workloads == (
        Workload(name="retail-api", replicas=4),
        Workload(name="canary", replicas=1),
    )


def test_state_is_told_in_a_line():
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
    assert claim.taken("scale_up/1", Phase.COMING_UP).phase is Phase.CLAIMED
    assert claim.but(state=UP).taken("scale_up/1", Phase.COMING_UP).phase is Phase.COMING_UP


def test_stopped_group_keeps_a_maximum_that_aws_accepts():
    assert NodeGroup(name="g", minimum=1, desired=3, maximum=5).stopped() == NodeGroup(
        name="g", minimum=0, desired=0, maximum=5
    )
    assert NodeGroup(name="g", minimum=0, desired=0, maximum=0).stopped().maximum == 1


def test_group_that_the_backstop_stopped_is_recorded_at_its_stacks_size():
    stopped = NodeGroup(name=settings().nodegroup, minimum=0, desired=0, maximum=10)
    assert scaling.size_of(stopped).desired == settings().node_count
    assert scaling.size_of(stopped.model_copy(update={"desired": 1})).desired == 1
    assert scaling.size_of(stopped.model_copy(update={"name": "other"})).desired == 0


def test_service_is_recorded_without_what_the_cluster_added():
    live = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "uid": "1",
            "resourceVersion": "7",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb", "kubectl.kubernetes.io/x": "y"},
            "finalizers": ["service.kubernetes.io/load-balancer-cleanup"],
        },
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.1.2.3",
            "clusterIPs": ["10.1.2.3"],
            "externalTrafficPolicy": "Cluster",
            "selector": {"app.kubernetes.io/name": "retail-api"},
            "ports": [{"name": "http", "port": 8088, "targetPort": "http", "nodePort": 30123}],
        },
        "status": {"loadBalancer": {"ingress": [{"hostname": "localhost"}]}},
    }
    assert scaling.bare(live) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"},
        },
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Cluster",
            "selector": {"app.kubernetes.io/name": "retail-api"},
            "ports": [{"name": "http", "port": 8088, "targetPort": "http"}],
        },
    }


def test_ingress_is_recorded_as_it_was_asked_for():
    asked = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": "retail-api-public",
            "namespace": "mlops",
            "labels": {"app.kubernetes.io/name": "retail-api"},
            "annotations": {"alb.ingress.kubernetes.io/target-type": "ip"},
        },
        "spec": {"ingressClassName": "alb", "rules": [{"host": "a.example.com", "http": {"paths": []}}]},
    }
    added = {"uid": "1", "finalizers": ["ingress.k8s.aws/resources"], "generation": 1}
    live = asked | {"metadata": asked["metadata"] | added, "status": {"loadBalancer": {"ingress": [{}]}}}
    assert scaling.bare(live) == asked


def test_service_and_ingress_of_one_name_are_two_endpoints():
    ingress = {"kind": "Ingress", "metadata": {"name": "retail-api-public"}, "spec": {}}
    assert {one["kind"] for one in UP.with_new(State(services=(ingress,))).services} == {"Service", "Ingress"}


# --- who goes first ---
@pytest.mark.parametrize(
    ("tasks", "is_releasing"),
    [
        ({"wait_until_up": "success", "resolve": "success", "apply": "running", "record": None}, True),
        ({"wait_until_up": "success", "resolve": "up_for_retry"}, True),
        ({"wait_until_up": "running", "resolve": None}, True),  # it may have looked just before the claim
        ({"wait_until_up": "up_for_reschedule", "resolve": None}, False),  # it waits for us
        ({"wait_until_up": None, "resolve": None}, False),
        ({"wait_until_up": "success", "resolve": "skipped", "record": "skipped"}, False),
        ({"wait_until_up": "success", "resolve": "failed", "record": "upstream_failed"}, False),
        ({"wait_until_up": "failed", "resolve": "upstream_failed"}, False),
    ],
)
def test_deploy_under_way_is_told_from_one_that_waits_or_is_over(tasks, is_releasing):
    assert scaling.releasing({"run": tasks}) == (["run"] if is_releasing else [])


def deployment(reason=None, generation=1, observed=1):
    conditions = [{"type": "Progressing", "status": "True", "reason": reason}] if reason else []
    return {
        "metadata": {"name": "retail-api", "generation": generation},
        "status": {"observedGeneration": observed, "conditions": conditions},
    }


@pytest.mark.parametrize(
    ("found", "is_rolling"),
    [
        (deployment("ReplicaSetUpdated"), True),
        (deployment("NewReplicaSetCreated"), True),
        (deployment("NewReplicaSetAvailable", generation=2), True),  # the controller has not looked yet
        (deployment("NewReplicaSetAvailable"), False),  # also when its pods have no node
        (deployment("ProgressDeadlineExceeded"), False),  # broken: no reason to let it cost money
        (deployment(), False),
    ],
)
def test_unfinished_rollout_is_waited_for_and_a_broken_one_is_not(found, is_rolling):
    assert bool(scaling.rolling([found])) is is_rolling


@pytest.mark.parametrize(
    ("going", "now", "is_late"),
    [
        ("down", local(25, 22, 1), False),
        ("down", local(26, 3), False),  # Airflow was down at 22:00, the night is not over
        ("down", local(28, 9), False),  # Saturday: the weekend is still ahead
        ("down", local(26, 9), True),
        ("up", local(26, 7, 1), False),
        ("up", local(26, 12), False),
        ("up", local(26, 22, 5), True),
        ("up", local(28, 9), True),
    ],
)
def test_newest_moment_of_the_schedule_wins(going, now, is_late):
    assert bool(scaling.late(going, now)) is is_late


def test_late_run_says_since_when_and_when_next():
    assert scaling.late("down", local(26, 9)) == (
        "too late: since Thu 07:00 the schedule wants the environment on (next scale_down: Thu 2026-11-26 22:00)"
    )


# --- what is left ---
def test_nothing_left_is_an_empty_list():
    assert scaling.left([], [], [], []) == []


def test_everything_left_is_named_in_the_table():
    leftovers = scaling.left(
        ["i-1"],
        [Instance(id="i-1", type="t3.medium", state="running", node_group="general")],
        [Balancer(name="a123", addresses=2)],
        [{"kind": "Service", "metadata": {"name": "retail-api-public"}}],
    )
    assert scaling.table(leftovers).splitlines() == [
        "what           name               why",
        "node           i-1                registered in the cluster",
        "EC2 instance   i-1                t3.medium, running, of node group general",
        "Service        retail-api-public  a public endpoint",
        "load balancer  a123               of no Service and no Ingress",
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
    found = scaling.left(
        [], [Instance(id="i-1", type="t3.small", **instance)], [Balancer(name="a", addresses=0, **balancer)], []
    )
    assert [one.goes for one in found] == goes


# --- hours and money ---
def test_savings_follow_the_price_table():
    node = Instance(id="i-1", type="t3.medium", state="running")
    found = scaling.savings([node, node, node.model_copy(update={"spot": True})], [Balancer(name="a", addresses=2)])
    assert {(saving.what, saving.count): saving.usd_per_hour for saving in found} == {
        ("EC2 t3.medium", 2): costs.hourly(Kind.EC2_INSTANCE, "t3.medium", 2),
        ("EC2 t3.medium Spot", 1): costs.hourly(Kind.EC2_INSTANCE, "t3.medium", 1, spot=True),
        ("load balancer", 1): costs.hourly(Kind.LOAD_BALANCER),
        ("public IPv4 address", 2): costs.hourly(Kind.PUBLIC_IPV4, count=2),
    }


def test_unknown_price_is_named_and_stops_nothing():
    [saving] = scaling.savings([Instance(id="i-1", type="x9.huge", state="running")], [])
    assert saving.usd_per_hour == 0
    assert "x9.huge" in saving.note


def off(**changes):
    """Off since Friday 22:00, planned until Monday 07:00, at 0.5 USD an hour."""
    planned = Record(
        phase=Phase.DOWN,
        owner="scale_down/1",
        state=UP,
        savings=(Saving(what="EC2 t3.medium", count=3, usd_per_hour=0.5),),
        off_since=local(27, 22),
        planned_until=local(30, 7),
    )
    return planned.but(**changes)


def accounts(*records):
    """day of the month → its file after these records were published one after another."""
    files = {}
    for record in records:
        time_off = scaling.time_off(record)
        for day in time_off.days:
            files[day.day] = scaling.account(files.get(day.day), time_off, day)
    return files


def test_each_local_day_has_its_own_hours():
    files = accounts(off())
    assert {day: (file["hours_off"], file["saved_usd"]) for day, file in files.items()} == {
        27: (2, 1),
        28: (24, 12),
        29: (24, 12),
        30: (7, 3.5),
    }
    assert {one["basis"] for file in files.values() for one in file["off"]} == {"planned"}


def test_actual_hours_replace_the_planned_ones():
    files = accounts(off(), off(on_since=local(28, 10), phase=Phase.COMING_UP, owner="scale_up/1"))
    assert {day: file["hours_off"] for day, file in files.items()} == {27: 2, 28: 10, 29: 0, 30: 0}
    assert {one["basis"] for file in files.values() for one in file["off"]} == {"actual"}


def test_hours_beyond_the_plan_count_too():
    files = accounts(off(), off(on_since=local(30, 9)))
    assert files[30]["hours_off"] == 9


def test_time_off_that_somebody_ended_at_an_unknown_time_is_taken_back():
    files = accounts(off(), off(on_since=local(27, 22)))
    assert {file["hours_off"] for file in files.values()} == {0}


def test_publishing_twice_counts_once():
    assert accounts(off(), off(), off()) == accounts(off())


def test_two_times_off_on_a_day_are_added():
    noon = off(off_since=local(27, 12), planned_until=local(27, 15), on_since=local(27, 14))
    assert accounts(noon, off())[27]["hours_off"] == 4


def test_hours_are_accounted_once_they_are_actual():
    planned, actual = off(), off(on_since=local(30, 7))
    assert not scaling.is_accounted(None, scaling.time_off(actual))
    assert not scaling.is_accounted(accounts(planned)[27], scaling.time_off(actual))
    assert scaling.is_accounted(accounts(planned, actual)[27], scaling.time_off(actual))


def test_time_off_without_a_known_beginning_is_not_counted():
    assert scaling.time_off(off(off_since=None)) is None


def test_file_names_the_prices_it_was_counted_with():
    file = accounts(off())[27]
    assert (file["date"], file["prices"]["date"]) == ("2026-11-27", costs.prices().date)
