"""What must not happen when something goes wrong, each against the running local stack."""

import gzip
import io
import json
import os
import signal
import tarfile
import time
import urllib.error
import urllib.request

import psutil
import pytest

from include import lake
from include.settings import MODEL_PACKAGE_GROUP, settings
from local.stack.processes import members
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

LATER_WEEK = "200614"
"""A shop week that the demo of these tests did not use."""


def ended(live, dag, run, seconds=240):
    return until(
        lambda: (state := live.airflow.run(dag, run)["state"]) in ("success", "failed") and state,
        seconds,
        f"{dag} ends",
    )


def failure(live, dag, run):
    """The log of the task that failed the run."""
    assert ended(live, dag, run) == "failed"
    failed = [name for name, state in live.airflow.states(dag, run).items() if state == "failed"]
    assert failed, "a failed run without a failed task"
    return "\n".join(live.airflow.log(dag, run, name) for name in failed)


def content(live, key):
    return live.client("s3").get_object(Bucket=settings().bucket, Key=key)["Body"].read()


def put(live, key, body):
    live.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=body)


def packages(live):
    pages = live.client("sagemaker").get_paginator("list_model_packages")
    return [
        p for page in pages.paginate(ModelPackageGroupName=MODEL_PACKAGE_GROUP) for p in page["ModelPackageSummaryList"]
    ]


def served(live):
    with urllib.request.urlopen(live.demo["endpoint"] + "/model", timeout=10) as answer:
        return json.loads(answer.read())


@pytest.fixture(scope="module")
def unanswered(live):
    """A run of train whose question nobody answers within its minute, which passes while the next tests run."""
    run = live.airflow.trigger("train", conf={"force": True, "approval_timeout": 1})
    yield run
    ended(live, "train", run, seconds=400)


# --- raw files ---
@pytest.mark.usefixtures("unanswered")
def test_replaced_raw_file_is_refused_until_it_is_accepted_on_purpose(live):
    week = live.demo["weeks"][0]
    key, gold = lake.raw(week), content(live, lake.gold_manifest(week))
    original = content(live, key)
    rows = gzip.decompress(original).splitlines(keepends=True)
    put(live, key, gzip.compress(b"".join(rows[:1] + rows[1:][::-1]), mtime=0))
    try:
        run = live.airflow.trigger("etl", partition_key=week)
        assert "immutable" in failure(live, "etl", run)
        assert content(live, lake.gold_manifest(week)) == gold
    finally:
        put(live, key, original)
    again = live.airflow.trigger("etl", partition_key=week)
    assert ended(live, "etl", again) == "success"
    assert live.airflow.states("etl", again)["build"] == "skipped", "the very same file must write nothing"


@pytest.mark.usefixtures("unanswered")
def test_file_of_another_week_is_refused_by_row_and_rule_and_publishes_nothing(live):
    put(live, lake.raw(LATER_WEEK), content(live, lake.raw(live.demo["weeks"][0])))
    log = failure(live, "etl", live.airflow.trigger("etl", partition_key=LATER_WEEK))
    assert "transactions.csv.gz" in log
    assert "row 2" in log
    assert "SHOP_WEEK" in log
    with pytest.raises(live.client("s3").exceptions.ClientError):
        content(live, lake.gold_manifest(LATER_WEEK))


@pytest.mark.usefixtures("unanswered")
def test_week_without_a_key_is_refused(live):
    assert "partition key" in failure(live, "etl", live.airflow.trigger("etl"))


# --- training and approval ---
def test_unanswered_question_is_a_rejection(live, unanswered):
    assert ended(live, "train", unanswered, seconds=400) == "success"
    newest = max(packages(live), key=lambda package: package["ModelPackageVersion"])
    assert newest["ModelApprovalStatus"] == "Rejected"
    assert live.airflow.states("train", unanswered)["announce"] == "skipped"


def test_failed_gate_registers_nothing_and_says_by_how_much(live):
    before = packages(live)
    run = live.airflow.trigger("train", conf={"weeks": live.demo["weeks"][:1], "force": True})
    log = failure(live, "train", run)
    assert "gate refuses" in log
    assert "below the minimum" in log
    assert packages(live) == before


def test_rejected_model_is_recorded_and_not_deployed_and_cannot_be(live):
    release = served(live)["release"]
    run = live.airflow.trigger("train", conf={"force": True})
    until(lambda: live.airflow.states("train", run).get("approve") == "awaiting_input", 240, "the question")
    time.sleep(2.5)
    live.airflow.answer("train", run, "approve", "Reject", {"reason": "a test says no"})
    assert ended(live, "train", run) == "success"
    newest = max(packages(live), key=lambda package: package["ModelPackageVersion"])
    assert newest["ModelApprovalStatus"] == "Rejected"
    described = live.client("sagemaker").describe_model_package(ModelPackageName=newest["ModelPackageArn"])
    assert "a test says no" in described["ApprovalDescription"]
    assert live.airflow.states("train", run)["announce"] == "skipped"
    refused = live.airflow.trigger("deploy", conf={"model_package_arn": newest["ModelPackageArn"]})
    assert "only Approved models" in failure(live, "deploy", refused)
    assert served(live)["release"] == release


def test_job_killed_half_way_fails_its_run_and_leaves_gold_as_it_was(live):
    week = live.demo["weeks"][1]
    gold = content(live, lake.gold_manifest(week))
    run = live.airflow.trigger("etl", partition_key=week, conf={"force": True})

    def job():
        for pid in members(str(live.stack.state)):
            try:
                command = psutil.Process(pid).cmdline()
            except psutil.Error:
                continue
            if "include.etl" in command:
                return pid
        return None

    os.kill(until(job, 120, "the job's process"), signal.SIGKILL)
    state = ended(live, "etl", run)
    tries = {task["task_id"]: task["try_number"] for task in live.airflow.task_instances("etl", run)}
    assert state == "failed" or tries["build"] > 1
    assert content(live, lake.gold_manifest(week)) == gold


# --- releases ---
def test_bundle_with_one_flipped_byte_is_refused(live):
    sagemaker = live.client("sagemaker")
    package = sagemaker.describe_model_package(ModelPackageName=live.demo["model_package_arn"])
    url = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    key = url.split("/", 3)[3]
    original, release = content(live, key), served(live)["release"]
    put(live, key, flipped(original, "manifest.json"))
    try:
        run = live.airflow.trigger("deploy", conf={"force": True})
        assert "refused" in failure(live, "deploy", run)
    finally:
        put(live, key, original)
    assert served(live)["release"] == release


def flipped(archive, name):
    """The archive with one byte of one member changed."""
    result = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=result, mode="w:gz") as new:
        for member in old:
            if not member.isfile():
                continue
            data = bytearray(old.extractfile(member).read())
            if member.name.removeprefix("./") == name:
                data[-2] ^= 1
            new.addfile(member, io.BytesIO(bytes(data)))
    return result.getvalue()


def test_package_rejected_after_deploy_keeps_running_pods_and_stops_new_ones(live):
    sagemaker, arn = live.client("sagemaker"), served(live)["model_package_arn"]
    pods = running_pods(live)
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="too late")
    try:
        live.kubectl("delete", "pod", pods[0], "-n", "mlops", "--wait=false")
        fresh = until(lambda: set(running_pods(live)) - set(pods), 60, "a new pod")
        name = next(iter(fresh))
        until(lambda: "must not be served" in live.kubectl("logs", name, "-n", "mlops", check=False), 60, "its refusal")
        assert served(live)["model_package_arn"] == arn, "the pod that runs goes on serving"
    finally:
        sagemaker.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="a test is over"
        )
        live.kubectl("delete", "pod", "-n", "mlops", "-l", "app.kubernetes.io/name=retail-api", "--wait=false")
    live.wait_for_endpoint()


def running_pods(live):
    listed = live.kubectl("get", "pods", "-n", "mlops", "-l", "app.kubernetes.io/name=retail-api", "-o", "name")
    return [name.removeprefix("pod/") for name in listed.split()]


# --- the local stack itself ---
def test_killed_child_is_started_again(live):
    before = live.status()["embedded-aws"]["pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: (now := live.status().get("embedded-aws", {}).get("pid")) and now != before, 60, "a new process")
    live.wait_for_endpoint(120)
    assert served(live)["bundle_digest"]
    assert content(live, lake.gold_manifest(live.demo["weeks"][0]))


def test_killed_supervisor_leaves_no_orphan_after_up(live):
    supervisor = live.status()["supervisor"]["pid"]
    before = set(members(str(live.stack.state)))
    os.kill(supervisor, signal.SIGKILL)
    live.local("up")
    assert not before & set(members(str(live.stack.state))), "processes of the killed supervisor are still there"
    live.wait_for_endpoint(120)
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(live.demo["endpoint"] + "/nothing", timeout=5)
