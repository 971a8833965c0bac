"""Teardown of the demo's local stack as a user does it: refused, rejected, killed half-way, leftovers named.

The last file of this folder that uses the live local stack: nothing of it is left afterwards.
"""

import json
import time
import urllib.request

import psutil
import pytest

from cli.demo.stages import ANSWER_DELAY
from include.settings import CLUSTER_NAME, settings
from local.stack.processes import members
from tests.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]

CONFIRMED = {"confirm": settings().environment, "confirm_twice": False}
OURS = f"mlops-retail-{settings().environment}"
TAGS = [{"Key": "Project", "Value": "RetailMLOps"}, {"Key": "Environment", "Value": settings().environment}]
ENDED = ("success", "failed")


def ended(live, run, seconds=240):
    state = until(
        lambda: (state := live.airflow.run("teardown", run)["state"]) in ENDED and state, seconds, "teardown ends"
    )
    failed = [name for name, task in live.airflow.states("teardown", run).items() if task == "failed"]
    return state, "\n".join(live.airflow.log("teardown", run, name) for name in failed)


def stop(live, dag, run):
    live.airflow.call("PATCH", f"/dags/{dag}/dagRuns/{run}", {"state": "failed"})


def stacks(live):
    found = live.client("cloudformation").describe_stacks()["Stacks"]
    return {stack["StackName"]: stack["StackStatus"] for stack in found}


def control_plane(live):
    """Names of the local stack's processes of Kubernetes."""
    names = []
    for pid in members(str(live.stack.state)):
        try:
            names.append(psutil.Process(pid).name())
        except psutil.NoSuchProcess:
            continue
    return sorted(name for name in names if name.startswith(("kube-", "etcd", "metrics-server")))


def test_wrong_name_is_refused_and_nothing_is_touched(live):
    before = stacks(live)
    run = live.airflow.trigger("teardown", {"confirm": "prod", "confirm_twice": False})
    state, log = ended(live, run)
    assert state == "failed"
    assert "nothing was touched" in log
    assert live.airflow.states("teardown", run)["verify_deleted"] == "upstream_failed"
    assert stacks(live) == before


def test_run_of_another_dag_is_named_and_nothing_is_touched(live):
    before = stacks(live)
    live.airflow.call("PATCH", "/dags/provision", {"is_paused": True})
    waiting = live.airflow.trigger("provision")
    try:
        state, log = ended(live, live.airflow.trigger("teardown", CONFIRMED))
    finally:
        stop(live, "provision", waiting)
        live.airflow.unpause("provision")
    assert state == "failed"
    assert "provision (1)" in log
    assert stacks(live) == before


def test_second_question_shows_the_cost_and_its_rejection_deletes_nothing(live):
    before = stacks(live)
    run = live.airflow.trigger("teardown", {"confirm": settings().environment})
    until(lambda: live.airflow.states("teardown", run).get("plan_deletion") in ENDED, 120, "the plan")
    state = live.airflow.states("teardown", run)["plan_deletion"]
    assert state == "success", live.airflow.log("teardown", run, "plan_deletion")
    question = until(lambda: live.airflow.questions("teardown", run), 60, "the second question")[0]
    assert "USD" in question["body"]
    assert f"cluster/{CLUSTER_NAME}" in question["body"]
    assert settings().bucket in question["body"]
    time.sleep(ANSWER_DELAY)
    live.airflow.answer("teardown", run, "confirm_deletion", "Reject")
    state, log = ended(live, run)
    assert state == "failed"
    assert "nothing was deleted" in log
    assert stacks(live) == before


def objects(live, prefix):
    """Key → ETag of the lake's objects below the prefix."""
    pages = live.client("s3").get_paginator("list_objects_v2").paginate(Bucket=settings().bucket, Prefix=prefix)
    return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_scaled_down_it_goes_too_and_the_data_it_kept_serves_the_next_environment(live):
    lake = {layer: objects(live, f"{layer}/") for layer in ("raw", "silver", "gold")}
    assert all(lake.values())
    live.airflow.unpause("scale_down")
    down = live.airflow.trigger("scale_down")
    assert live.airflow.wait("scale_down", down, 300)["state"] == "success"

    run = live.airflow.trigger("teardown", {**CONFIRMED, "keep_data": True})

    assert ended(live, run, 420) == ("success", "")
    assert settings().bucket in live.airflow.log("teardown", run, "verify_deleted").partition("Kept:")[2]
    assert list(stacks(live)) == [f"{OURS}-lake"]
    assert live.client("eks").list_clusters()["clusters"] == []
    assert {layer: objects(live, f"{layer}/") for layer in lake} == lake

    live.local_demo()

    assert {layer: objects(live, f"{layer}/") for layer in lake} == lake
    demo = json.loads((live.stack.state / "demo.json").read_text())
    with urllib.request.urlopen(demo["endpoint"] + "/ready", timeout=5) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def planted(live):
    """One leftover of each kind: name in the inventory → how to remove it."""
    logs, s3, iam = live.client("logs"), live.client("s3"), live.client("iam")
    cloudwatch, elb = live.client("cloudwatch"), live.client("elbv2")
    logs.create_log_group(logGroupName=f"/retail-mlops/{settings().environment}/planted")
    s3.create_bucket(Bucket=f"{OURS}-planted", CreateBucketConfiguration={"LocationConstraint": settings().region})
    s3.put_bucket_versioning(Bucket=f"{OURS}-planted", VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=f"{OURS}-planted", Key="left/over", Body=b"1")["VersionId"]
    cloudwatch.put_metric_alarm(
        AlarmName=f"{OURS}-planted",
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        Statistic="Sum",
        ComparisonOperator="GreaterThanThreshold",
    )
    trust = '{"Version": "2012-10-17", "Statement": []}'
    iam.create_role(RoleName=f"{OURS}-planted", AssumeRolePolicyDocument=trust)
    made = elb.create_load_balancer(Name="planted", Type="network", Tags=TAGS)["LoadBalancers"][0]["LoadBalancerArn"]

    def remove_bucket():
        s3.delete_object(Bucket=f"{OURS}-planted", Key="left/over", VersionId=version)
        s3.delete_bucket(Bucket=f"{OURS}-planted")

    return {
        f"log-group:/retail-mlops/{settings().environment}/planted": lambda: logs.delete_log_group(
            logGroupName=f"/retail-mlops/{settings().environment}/planted"
        ),
        f"left/over ({version})": remove_bucket,
        f"alarm:{OURS}-planted": lambda: cloudwatch.delete_alarms(AlarmNames=[f"{OURS}-planted"]),
        f"role/{OURS}-planted": lambda: iam.delete_role(RoleName=f"{OURS}-planted"),
        made: lambda: elb.delete_load_balancer(LoadBalancerArn=made),
    }


def test_killed_half_way_and_run_again_it_names_each_planted_leftover_and_nothing_else(live, planted):
    assert control_plane(live)
    killed = live.airflow.trigger("teardown", CONFIRMED)
    until(
        lambda: live.airflow.states("teardown", killed)["delete_cluster"] in ("running", "deferred"),
        180,
        "the cluster's deletion",
    )
    stop(live, "teardown", killed)

    state, log = ended(live, live.airflow.trigger("teardown", CONFIRMED))

    assert state == "failed"
    for name in planted:
        assert name in log, name
    assert f"{len(planted)} resources of {settings().environment} are left" in log
    assert stacks(live) == {}
    assert live.client("eks").list_clusters()["clusters"] == []
    until(lambda: not control_plane(live), 30, "the control plane's processes end")


def test_run_again_after_the_leftovers_are_gone_it_proves_that_nothing_is_left(live, planted):
    for remove in planted.values():
        remove()

    run = live.airflow.trigger("teardown", CONFIRMED)

    assert ended(live, run) == ("success", "")
    log = live.airflow.log("teardown", run, "verify_deleted")
    assert f"Nothing of {settings().environment} is left" in log
    assert "user/bootstrap" in log
    assert [bucket["Name"] for bucket in live.client("s3").list_buckets()["Buckets"]] == []
    assert live.client("elbv2").describe_load_balancers()["LoadBalancers"] == []
    tagged = live.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Project", "Values": ["RetailMLOps"]}]
    )["ResourceTagMappingList"]
    assert {found["ResourceARN"].split(":")[5].partition("/")[0] for found in tagged} <= {
        "training-job",
        "processing-job",
    }
