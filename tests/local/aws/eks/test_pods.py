"""Pods of the cluster stack: images from ECR, the role of the service account, logs in CloudWatch."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from kubernetes import client
from kubernetes import config as kubernetes_config

from cli.images import code_image
from include.settings import CLUSTER_NAME, REGION
from local.aws import credentials
from tests.local.aws.conftest import Service
from tests.local.aws.eks.test_clusters import ORDER, change
from tests.local.kube.cluster import eventually

pytestmark = pytest.mark.integration

NAMESPACE, ACCOUNT_NAME = "mlops", "retail-api-sa"
GROUP = f"/aws/containerinsights/{CLUSTER_NAME}/application"
PROGRAM = """
import boto3, os
print("caller", boto3.client("sts").get_caller_identity()["Arn"])
print("token", len(open(os.environ["AWS_WEB_IDENTITY_TOKEN_FILE"]).read()) > 100)
import api; print("package", api.__file__)
"""


@pytest.fixture(scope="module")
def service():
    base = Path(tempfile.mkdtemp(prefix="eks-"))
    service = Service(base)
    try:
        service.start()
        for component in ORDER:
            assert change(service, component, "CREATE") == ("CREATE_COMPLETE", ""), component
        yield service
    finally:
        service.remove()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="module")
def core(service):
    api = client.CoreV1Api(kubernetes_config.new_client_from_config(str(service.state / "kubeconfig")))
    api.create_namespace({"metadata": {"name": NAMESPACE}})
    identity = service.client("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{identity}:role/mlops-retail-dev-api"
    account = {"metadata": {"name": ACCOUNT_NAME, "annotations": {"eks.amazonaws.com/role-arn": role}}}
    api.create_namespaced_service_account(NAMESPACE, account)
    return api


@pytest.fixture(scope="module")
def image(service):
    with mock.patch.dict(os.environ, service.env):
        return code_image.push(credentials.session(service.stack), service.stack, code_image.build("mlops/retail-api"))


def start(core, name, image, **spec):
    container = {"name": "main", "image": image, "command": ["python", "-c", PROGRAM]}
    core.create_namespaced_pod(
        NAMESPACE,
        {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"restartPolicy": "Never", "containers": [container], **spec},
        },
    )


def shipped(service, name):
    """The lines of a pod's log that CloudWatch has, with what it knows about them; the first ones make the group."""
    logs = service.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName=GROUP)["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    names = [
        stream["logStreamName"]
        for stream in streams
        if f"containers.{name}_{NAMESPACE}_main" in stream["logStreamName"]
    ]
    events = [logs.get_log_events(logGroupName=GROUP, logStreamName=stream)["events"] for stream in names]
    return [json.loads(event["message"]) for batch in events for event in batch]


def test_a_pod_runs_a_code_image_as_the_role_of_its_service_account_and_logs_to_cloudwatch(service, core, image):
    start(core, "identified", image, serviceAccountName=ACCOUNT_NAME)
    phase = eventually(
        lambda: (
            (found := core.read_namespaced_pod("identified", NAMESPACE).status.phase) in ("Succeeded", "Failed")
            and found
        ),
        60,
        "the pod's end",
    )
    text = core.read_namespaced_pod_log("identified", NAMESPACE)
    assert phase == "Succeeded", text
    lines = text.splitlines()
    assert ":assumed-role/mlops-retail-dev-api/" in lines[0]
    assert lines[1] == "token True"
    assert str(service.state / "aws" / "images") in lines[2]
    messages = eventually(lambda: len(found := shipped(service, "identified")) == len(lines) and found, what="the log")
    assert [message["log"] for message in messages] == lines
    assert messages[0]["kubernetes"]["labels"]["app"] == "identified"


def test_a_digest_that_the_registry_does_not_have_is_not_started(core, image):
    repository, _, _ = image.partition("@")
    start(core, "absent", f"{repository}@sha256:{'0' * 64}")

    def waiting():
        statuses = core.read_namespaced_pod("absent", NAMESPACE).status.container_statuses or []
        return next(
            (status.state.waiting for status in statuses if status.state.waiting.reason == "ImagePullBackOff"), None
        )

    assert REGION in eventually(waiting, what="ImagePullBackOff").message
