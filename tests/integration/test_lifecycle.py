"""The whole life cycle as a user sees it, on a local stack of its own: one demo, then questions about what it left."""

import contextlib
import gzip
import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from include import lake
from include.settings import API_NAME, CLUSTER_NAME, NAMESPACE, settings
from local.stack import config
from local.stack.processes import members
from tests.private_stack import WEEKS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1500)]


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, json.loads(answer.read())


def test_demo_meets_the_kpi_and_reports_it(live):
    demo = live.demo
    assert demo["accuracy"] >= settings().min_accuracy
    assert demo["macro_f1"] >= settings().min_macro_f1
    assert demo["ladder"]["aggregates"][0] < settings().min_accuracy, (
        "aggregates alone must not pass: the data would be too easy"
    )
    assert len(demo["weeks"]) == WEEKS
    assert demo["rows"] > demo["baskets"] > 0
    assert demo["endpoint"].startswith("http://127.0.0.1:")


def test_endpoint_serves_the_approved_package(live):
    _, model = ask(live.demo["endpoint"] + "/model")
    package = live.client("sagemaker").describe_model_package(ModelPackageName=live.demo["model_package_arn"])
    assert package["ModelApprovalStatus"] == "Approved"
    assert model["model_package_arn"] == live.demo["model_package_arn"]
    assert model["bundle_digest"] == live.demo["bundle_digest"]
    assert package["ApprovalDescription"]


def test_endpoint_refuses_bad_baskets(live):
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(live.demo["endpoint"] + "/predict", {"SHOP_HOUR": 25})
    assert refused.value.code == 422


def test_gold_is_complete_and_follows_its_manifests(live):
    s3, bucket = live.client("s3"), settings().bucket
    for week in live.demo["weeks"]:
        manifest = json.loads(s3.get_object(Bucket=bucket, Key=lake.gold_manifest(week))["Body"].read())
        assert manifest["shop_week"] == week
        for split in lake.SPLITS:
            assert lake.gold(split, week) in manifest["outputs"]


def test_second_demo_changes_nothing(live):
    s3, bucket = live.client("s3"), settings().bucket

    def gold():
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="gold/")
        return sorted((v["Key"], v["VersionId"], v["ETag"]) for page in pages for v in page.get("Versions", []))

    before = gold()
    live.local_demo()
    again = json.loads((live.stack.state / "demo.json").read_text())
    assert gold() == before
    assert again["model_package_arn"] == live.demo["model_package_arn"]
    assert again["bundle_digest"] == live.demo["bundle_digest"]


def test_ingest_lands_a_file_once_and_refuses_another_for_its_week(live, tmp_path):
    week = live.demo["weeks"][0]
    file = live.stack.state / "weeks" / f"transactions_{week}.csv.gz"
    assert "that very file is there already" in live.local("ingest", file).stdout

    other = tmp_path / file.name
    other.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()) + b"\n", mtime=0))
    refused = live.local("ingest", other, check=False)
    assert refused.returncode == 1
    assert "immutable" in refused.stdout + refused.stderr


def test_pods_run_on_the_cluster_that_the_stack_made(live):
    eks = live.client("eks")
    assert eks.list_clusters()["clusters"] == [CLUSTER_NAME]
    cluster = eks.describe_cluster(name=CLUSTER_NAME)["cluster"]
    shown = Path(live.local("kubeconfig").stdout.strip())
    (known,) = yaml.safe_load(shown.read_text())["clusters"]
    assert known["cluster"]["server"] == cluster["endpoint"]

    def listed(*what):
        return json.loads(live.kubectl("get", *what, "-o", "json", kubeconfig=shown))["items"]

    pods = listed("pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={API_NAME}")
    nodes = listed("nodes", "-l", f"eks.amazonaws.com/nodegroup={settings().nodegroup}")
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert {pod["spec"]["nodeName"] for pod in pods} <= {node["metadata"]["name"] for node in nodes}


def test_everything_listens_on_loopback_only(live):
    listening = []
    for pid in members(str(live.stack.state)):
        with contextlib.suppress(psutil.NoSuchProcess):  # a task's, that has ended meanwhile
            process = psutil.Process(pid)
            found = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
            listening += [(process.name(), one.laddr.ip) for one in found]
    assert listening, "no listener found: the check itself is broken"
    assert all(ip.startswith("127.") for _, ip in listening), listening


@pytest.mark.timeout(300)
def test_down_leaves_no_process_and_no_port_and_up_brings_the_endpoint_back(live):
    live.local("down")
    assert members(str(live.stack.state)) == []
    for port in (live.stack.airflow, live.stack.aws, live.stack.endpoint):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"port {port} is still open"
    live.local("up")
    live.wait_for_endpoint()
    _, model = ask(live.demo["endpoint"] + "/model")
    assert model["bundle_digest"] == live.demo["bundle_digest"]
    assert config.load(live.stack.state) == live.stack
