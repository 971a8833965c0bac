"""The cost schedule on a running environment: down, up, twice, in the wrong order, after a failure, beside a deploy.

One story, in order; every chapter leaves the environment as the next one expects it.
"""

import json
import time
import urllib.request

import pytest

from include import lake
from include.settings import CLUSTER_NAME, METRIC_NAMESPACE, settings
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

GROUP = {"clusterName": CLUSTER_NAME, "nodegroupName": settings().nodegroup}
HELD = """
apiVersion: v1
kind: Pod
metadata: {name: held, namespace: mlops, labels: {app: held}}
spec:
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: held
      image: IMAGE
      command: [python, -c, "import time; time.sleep(3600)"]
      securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: held, namespace: mlops}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: held}}}
"""


# --- what is there ---
def record(live):
    """The record of scale_down; None if there is none."""
    s3 = live.client("s3")
    try:
        found = s3.get_object(Bucket=settings().bucket, Key=lake.SCALED_DOWN)
    except s3.exceptions.NoSuchKey:
        return None
    return json.loads(found["Body"].read())


def served(live):
    with urllib.request.urlopen(live.demo["endpoint"] + "/model", timeout=5) as answer:
        return json.loads(answer.read())


def running_instances(live):
    pages = live.client("ec2").get_paginator("describe_instances").paginate()
    every = [one for page in pages for reservation in page["Reservations"] for one in reservation["Instances"]]
    return [one["InstanceId"] for one in every if one["State"]["Name"] != "terminated"]


def nodes(live):
    return live.kubectl("get", "nodes", "-o", "name").split()


def shape(live):
    """What scale_up has to restore, as the cluster and EKS show it."""
    listed = live.kubectl("get", "deployment,hpa,service", "-n", "mlops", "-o", "json")
    things = {(item["kind"], item["metadata"]["name"]): item["spec"] for item in json.loads(listed)["items"]}
    public = things["Service", "retail-api-public"]
    return {
        "replicas": things["Deployment", "retail-api"]["replicas"],
        "autoscaler": [things["HorizontalPodAutoscaler", "retail-api"][key] for key in ("minReplicas", "maxReplicas")],
        "ports": [(port["port"], port["targetPort"]) for port in public["ports"]],
        "selector": public["selector"],
        "group": live.client("eks").describe_nodegroup(**GROUP)["nodegroup"]["scalingConfig"],
    }


def cost_files(live):
    listed = live.client("s3").list_objects_v2(Bucket=settings().bucket, Prefix="logs/cost/").get("Contents", [])
    bodies = [live.client("s3").get_object(Bucket=settings().bucket, Key=one["Key"])["Body"].read() for one in listed]
    return [json.loads(body) for body in bodies]


# --- runs ---
def ended(live, dag, run, seconds=240):
    state = live.airflow.wait(dag, run, seconds)["state"]
    return state, live.airflow.states(dag, run)


def succeed(live, dag, **conf):
    run = live.airflow.trigger(dag, conf)
    state, tasks = ended(live, dag, run)
    failed = [live.airflow.log(dag, run, name)[-3000:] for name, one in tasks.items() if one == "failed"]
    assert state == "success", "\n".join([f"{dag}: {tasks}", *failed])
    return run, tasks


@pytest.fixture(scope="module")
def schedule(live):
    """Both DAGs enabled, and what that may have started by itself over; the environment up."""
    for dag in ("scale_down", "scale_up"):
        live.airflow.unpause(dag)
    time.sleep(2)
    for dag in ("scale_down", "scale_up"):
        for run in live.airflow.runs(dag):
            ended(live, dag, run["dag_run_id"])
    if record(live):  # it is night in Ho Chi Minh City
        succeed(live, "scale_up")
    live.wait_for_endpoint()
    return live


@pytest.fixture(scope="module")
def before(schedule):
    return shape(schedule), served(schedule)["release"]


def test_nothing_to_restore_is_said_and_changes_nothing(schedule, before):
    run, tasks = succeed(schedule, "scale_up")
    assert set(tasks.values()) == {"skipped"}
    assert "nothing is scaled down" in schedule.airflow.log("scale_up", run, "acquire_lock")
    assert shape(schedule) == before[0]


def test_pod_that_a_budget_holds_fails_the_drain_and_keeps_the_nodes(schedule, before):
    image = json.loads(schedule.kubectl("get", "deployment", "retail-api", "-n", "mlops", "-o", "json"))
    image = image["spec"]["template"]["spec"]["containers"][0]["image"]
    manifest = schedule.stack.state / "held.yaml"
    manifest.write_text(HELD.replace("IMAGE", image))
    schedule.kubectl("apply", "-f", str(manifest))
    schedule.kubectl("wait", "--for=condition=Ready", "pod/held", "-n", "mlops", "--timeout=60s")
    run = schedule.airflow.trigger("scale_down")
    state, tasks = ended(schedule, "scale_down", run)
    assert (state, tasks["drain_nodes"], tasks["stop_nodes"]) == ("failed", "failed", "upstream_failed")
    assert "held" in (log := schedule.airflow.log("scale_down", run, "drain_nodes"))
    assert "disruption budget" in log
    assert len(nodes(schedule)) == before[0]["group"]["desiredSize"]
    assert record(schedule)["state"]["workloads"] == [{"name": "retail-api", "replicas": before[0]["replicas"]}]
    schedule.kubectl("delete", "-f", str(manifest), "--wait=false")


def test_instance_and_load_balancer_that_stay_fail_the_proof_by_name(schedule, before):
    """Also: the run before failed half-way, and this one goes on with its record."""
    good, ec2, elb = record(schedule), schedule.client("ec2"), schedule.client("elbv2")
    tags = [{"Key": "Project", "Value": "RetailMLOps"}, {"Key": "Environment", "Value": settings().environment}]
    planted = ec2.run_instances(
        ImageId="ami-00000000000000000",
        InstanceType="t3.small",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"][0]["InstanceId"]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    balancer = elb.create_load_balancer(Name="left-behind", Type="network", Subnets=subnets, Tags=tags)
    try:
        run = schedule.airflow.trigger("scale_down")
        state, tasks = ended(schedule, "scale_down", run)
        assert (state, tasks["stop_nodes"], tasks["verify_stopped"]) == ("failed", "success", "failed")
        log = schedule.airflow.log("scale_down", run, "verify_stopped")
        assert planted in log
        assert "left-behind" in log
        assert record(schedule)["state"] == good["state"], "a half-stopped environment replaced the good record"
    finally:
        ec2.terminate_instances(InstanceIds=[planted])
        elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"])


def test_after_scale_down_nothing_runs_and_the_endpoint_refuses(schedule, before):
    succeed(schedule, "scale_down")
    assert nodes(schedule) == []
    assert running_instances(schedule) == []
    assert schedule.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    with pytest.raises(OSError, match="refused"):
        served(schedule)
    sizes = schedule.client("eks").describe_nodegroup(**GROUP)["nodegroup"]["scalingConfig"]
    assert (sizes["minSize"], sizes["desiredSize"]) == (0, 0)
    assert sizes["maxSize"] == before[0]["group"]["maxSize"] >= 1
    kept = record(schedule)
    assert kept["phase"] == "down"
    assert kept["state"]["release"] == before[1]
    assert kept["state"]["node_groups"][0]["desired"] == before[0]["group"]["desiredSize"]


def test_planned_hours_and_money_are_published(schedule):
    planned = [one for file in cost_files(schedule) for one in file["off"] if one["basis"] == "planned"]
    assert sum(one["saved_usd"] for one in planned) > 0
    assert {saving["what"] for one in planned for saving in one["savings"]} == {
        "EC2 t3.medium Spot",
        "load balancer",
        "public IPv4 address",
    }
    metrics = schedule.client("cloudwatch").list_metrics(Namespace=METRIC_NAMESPACE)["Metrics"]
    names = {
        metric["MetricName"] for metric in metrics if {"Name": "Basis", "Value": "planned"} in metric["Dimensions"]
    }
    assert names == {"HoursOff", "SavedUSD"}


def test_second_scale_down_proves_it_again_and_keeps_the_record(schedule):
    good = record(schedule)
    succeed(schedule, "scale_down")
    again = record(schedule)
    assert {key: again[key] for key in ("phase", "state", "off_since", "savings")} == {
        key: good[key] for key in ("phase", "state", "off_since", "savings")
    }


def test_deploy_waits_while_the_environment_is_down_and_goes_on_when_it_is_up(schedule, before):
    waiting = schedule.airflow.trigger("deploy", {"force": True})
    held = "up_for_reschedule"
    until(lambda: schedule.airflow.states("deploy", waiting).get("wait_until_scaled_up") == held, 60, "deploy waits")
    assert "waiting for scale_up" in schedule.airflow.log("deploy", waiting, "wait_until_scaled_up")
    assert schedule.airflow.states("deploy", waiting)["choose_release"] is None

    succeed(schedule, "scale_up")
    assert record(schedule) is None
    assert shape(schedule) == before[0]
    schedule.wait_for_endpoint()
    assert served(schedule)["bundle_digest"] == schedule.demo["bundle_digest"]
    assert {one["basis"] for file in cost_files(schedule) for one in file["off"]} == {"actual"}

    assert ended(schedule, "deploy", waiting)[0] == "success"
    assert served(schedule)["release"] != before[1]


@pytest.mark.faults
def test_scale_down_waits_for_a_deploy_and_a_busy_node_group_and_scale_up_for_scale_down(schedule, before):
    deploying = schedule.airflow.trigger("deploy", {"force": True})
    until(
        lambda: schedule.airflow.states("deploy", deploying).get("wait_until_scaled_up") == "success",
        60,
        "deploy begins",
    )
    down = schedule.airflow.trigger("scale_down")
    until(lambda: record(schedule), 60, "scale_down has its turn")
    up = schedule.airflow.trigger("scale_up")
    assert ended(schedule, "deploy", deploying)[0] == "success"
    released = served(schedule)["release"]
    # one node more: the group is UPDATING when scale_down comes to it, or has become bigger
    size = before[0]["group"]["desiredSize"] + 1
    schedule.client("eks").update_nodegroup_config(**GROUP, scalingConfig={"desiredSize": size})

    assert ended(schedule, "scale_down", down)[0] == "success"
    assert f"deploy is under way (run {deploying})" in schedule.airflow.log("scale_down", down, "record_state")
    assert ended(schedule, "scale_up", up)[0] == "success"
    assert f"scale_down/{down} is under way" in schedule.airflow.log("scale_up", up, "acquire_lock")
    schedule.wait_for_endpoint()
    assert served(schedule)["release"] == released
    assert shape(schedule)["replicas"] == before[0]["replicas"]


@pytest.mark.faults
def test_node_group_that_the_backstop_stopped_comes_back_without_a_record(schedule):
    eks = schedule.client("eks")
    eks.update_nodegroup_config(**GROUP, scalingConfig={"minSize": 0, "desiredSize": 0})
    until(lambda: nodes(schedule) == [], 120, "the nodes go")
    succeed(schedule, "scale_up")
    assert len(nodes(schedule)) == settings().node_count
    schedule.wait_for_endpoint()
    assert record(schedule) is None
