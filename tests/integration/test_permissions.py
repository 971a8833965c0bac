"""Each permission is needed: a role that lacks one fails at the step that needs it, and at none when it has it again.

The roles are those that the identity and cluster stacks made; the steps are the project's own code.
"""

import copy
import itertools
import json
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.errors import Unavailable
from api.model.aws import Aws
from include.settings import API_SERVICE_ACCOUNT, JOBS_REPOSITORY, NAMESPACE, REGION, settings
from local.aws import credentials, home
from local.stack import config
from local.stack.airflow_environment import with_aws
from retail_mlops.common.job_requests import url

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

HERE = Path(__file__).resolve().parent


# --- roles without one action ---
def documents(live, role):
    """{name: document} of the role's own policies."""
    iam, name = live.client("iam"), settings().role(role).rpartition("/")[2]
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    return {policy: iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in names}


def actions(statement):
    return [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]


def stripped(document, action):
    """The document without one action; None when nothing is left of it."""
    left = copy.deepcopy(document)
    for statement in left["Statement"]:
        statement["Action"] = [one for one in actions(statement) if one != action]
    left["Statement"] = [statement for statement in left["Statement"] if statement["Action"]]
    return left if left["Statement"] else None


@contextmanager
def without(live, role, action):
    iam, name = live.client("iam"), settings().role(role).rpartition("/")[2]
    held = {
        policy: document
        for policy, document in documents(live, role).items()
        if any(action in actions(statement) for statement in document["Statement"])
    }
    assert held, f"no policy of {name} grants {action}"
    try:
        for policy, document in held.items():
            if left := stripped(document, action):
                iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(left))
            else:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
        yield
    finally:
        for policy, document in held.items():
            iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=json.dumps(document))


def fresh_name():
    return f"mlops-retail-{settings().environment}-permissions-{uuid.uuid4().hex[:12]}"


# --- Airflow's role ---
@pytest.fixture(scope="module")
def airflow_does(live):
    """step → None, or the text of its error; in one process of Airflow's environment."""
    boot = credentials.client_env(live.stack)
    env = with_aws(live.stack, boot) | {"PYTHONPATH": f"{config.ROOT}:{config.ROOT / 'plugins'}"}
    topic, sns = f"mlops-retail-{settings().environment}-alerts", live.client("sns")
    there = any(found["TopicArn"].endswith(f":{topic}") for found in sns.list_topics()["Topics"])
    arn = None if there else sns.create_topic(Name=topic)["TopicArn"]
    process = subprocess.Popen(
        [config.ROOT / ".venv/airflow/bin/python", HERE / "airflow_steps.py"],
        env=env,
        cwd=config.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def do(step):
        process.stdin.write(f"{step} {fresh_name()}\n")
        process.stdin.flush()
        answer = next(line for line in process.stdout if line.startswith("ANSWER "))
        return json.loads(answer.removeprefix("ANSWER "))

    yield do
    process.stdin.close()
    process.wait(30)
    if arn:
        sns.delete_topic(TopicArn=arn)


AIRFLOW = [
    ("s3:GetObject", "read_object"),
    ("s3:ListBucket", "list_objects"),
    ("s3:PutObject", "write_object"),
    ("s3:DeleteObject", "remove_object"),
    ("sagemaker:ListModelPackages", "list_packages"),
    ("sagemaker:DescribeModelPackage", "describe_package"),
    ("sagemaker:UpdateModelPackage", "decide_package"),
    ("ecr:DescribeImages", "newest_image"),
    ("iam:PassRole", "start_processing"),
    ("sagemaker:CreateProcessingJob", "start_processing"),
    ("sagemaker:CreateTrainingJob", "start_training"),
    ("sagemaker:DescribeProcessingJob", "watch_job"),
    ("sagemaker:StopProcessingJob", "stop_job"),
    ("sagemaker:StopTrainingJob", "stop_training_job"),
    ("logs:FilterLogEvents", "read_job_log"),
    ("eks:DescribeCluster", "log_in"),
    ("eks:DescribeNodegroup", "resize_nodes"),
    ("eks:UpdateNodegroupConfig", "resize_nodes"),
    ("ec2:DescribeInstances", "count_instances"),
    ("elasticloadbalancing:DescribeLoadBalancers", "count_balancers"),
    ("sagemaker:ListProcessingJobs", "count_jobs"),
    ("sagemaker:ListTrainingJobs", "count_jobs"),
    ("cloudwatch:PutMetricData", "publish_metric"),
    ("sns:Publish", "notify"),
]


@pytest.mark.parametrize(("action", "step"), AIRFLOW, ids=[f"{action} {step}" for action, step in AIRFLOW])
def test_airflow_without_an_action_fails_at_the_step_that_needs_it(live, airflow_does, action, step):
    with without(live, "airflow", action):
        error = airflow_does(step)
    assert error, f"{step} went well without {action}"
    assert "AccessDenied" in error or "not authorized" in error, error
    assert action in error
    assert airflow_does(step) is None


# --- the jobs' role ---
def run_job(live):
    """FailureReason and ExitMessage of a job that reads an object of gold and writes another; empty: it completed."""
    sagemaker, ours, name = live.client("sagemaker"), settings(), fresh_name()
    code = (
        "import os, pathlib; base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'], 'processing'); "
        "(base / 'output/result').mkdir(parents=True, exist_ok=True); (base / 'output/result/x').write_text('x')"
    )
    where = {"LocalPath": "/opt/ml/processing/input/gold", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    result = {"LocalPath": "/opt/ml/processing/output/result", "S3UploadMode": "EndOfJob"}
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=ours.role("job"),
        AppSpecification={
            "ImageUri": live.newest_image(JOBS_REPOSITORY),
            "ContainerEntrypoint": ["python", "-c", code],
        },
        ProcessingInputs=[{"InputName": "gold", "S3Input": {"S3Uri": url("gold/_manifest/"), **where}}],
        ProcessingOutputConfig={
            "Outputs": [{"OutputName": "result", "S3Output": {"S3Uri": url(f"tmp/{name}"), **result}}]
        },
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.large", "VolumeSizeInGB": 1}},
    )
    deadline = time.monotonic() + 60
    while (job := sagemaker.describe_processing_job(ProcessingJobName=name))["ProcessingJobStatus"] == "InProgress":
        assert time.monotonic() < deadline, f"{name} does not end"
        time.sleep(0.2)
    return f"{job.get('FailureReason', '')}{job.get('ExitMessage', '')}" or (
        "" if job["ProcessingJobStatus"] == "Completed" else job["ProcessingJobStatus"]
    )


JOB = {
    "s3:GetObject": "HeadObject operation: Forbidden",  # S3 answers HEAD without a body, so without the action's name
    "s3:ListBucket": "s3:ListBucket",
    "s3:PutObject": "s3:PutObject",
    "ecr:GetAuthorizationToken": "ecr:GetAuthorizationToken",
    "ecr:BatchGetImage": "ecr:BatchGetImage",
}
"""action → what the job says when its role lacks it"""


@pytest.mark.parametrize("action", JOB)
def test_job_without_an_action_fails_and_names_it(live, action):
    with without(live, "job", action):
        assert JOB[action] in run_job(live)
    assert run_job(live) == ""


# --- the API's role ---
@pytest.fixture
def as_a_pod(live, monkeypatch):
    """The API's own AWS client with the credentials that a pod of its service account gets for its token."""
    token = live.kubectl("create", "token", API_SERVICE_ACCOUNT, "-n", NAMESPACE, "--audience", "sts.amazonaws.com")
    keys = live.client("sts").assume_role_with_web_identity(
        RoleArn=settings().role("api"), RoleSessionName="pod", WebIdentityToken=token.strip()
    )["Credentials"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", live.stack.aws_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys["SessionToken"])
    return Aws(REGION)


def ask_for_approval(live, aws, tmp_path):
    aws.package(live.demo["model_package_arn"])


def fetch_bundle(live, aws, tmp_path):
    pages = live.client("s3").get_paginator("list_objects_v2")
    listed = pages.paginate(Bucket=settings().bucket, Prefix="artifacts/releases/")
    keys = [found["Key"] for page in listed for found in page.get("Contents", [])]
    aws.fetch(url(next(key for key in keys if key.endswith("model.tar.gz"))), tmp_path / "model.tar.gz")


@pytest.mark.parametrize(
    ("action", "step"), [("sagemaker:DescribeModelPackage", ask_for_approval), ("s3:GetObject", fetch_bundle)]
)
def test_api_without_an_action_cannot_start(live, as_a_pod, tmp_path, action, step):
    with without(live, "api", action), pytest.raises(Unavailable, match=action):
        step(live, as_a_pod, tmp_path)
    step(live, as_a_pod, tmp_path)


# --- nothing that nobody needs ---
UNUSED = {
    ("airflow", "s3:AbortMultipartUpload"),  # of copies in parts that fail half-way
    ("airflow", "s3:GetObjectTagging"),  # copies in parts take the tags along
    ("airflow", "s3:PutObjectTagging"),
    ("airflow", "sagemaker:AddTags"),  # asked for when a job or a package is created with tags
    ("airflow", "ecr:DescribeImageScanFindings"),  # there, images have scans: RETAIL_REQUIRE_IMAGE_SCAN
    ("job", "s3:AbortMultipartUpload"),
    ("job", "ecr:BatchCheckLayerAvailability"),  # Docker pulls with it
    ("job", "logs:DescribeLogStreams"),  # SageMaker's log agent
    ("job", "s3:GetBucketLocation"),  # SageMaker, before a download
    ("node", "ecr:BatchCheckLayerAvailability"),
    ("node", "logs:DescribeLogStreams"),
}
"""(role, action) that are granted for AWS, which asks for them where the AWS emulation does not."""


def test_every_action_of_a_role_was_used_or_has_a_reason(live):
    """Last: the demo and the steps above have used what they need, without the other fault tables."""
    lines = (home.folder(live.stack) / home.ALLOWED).read_text().splitlines()
    used = {tuple(line.removeprefix(f"mlops-retail-{settings().environment}-").split()) for line in lines}
    granted = {
        (role, action)
        for role in ("airflow", "job", "api", "node")
        for document in documents(live, role).values()
        for action in itertools.chain.from_iterable(map(actions, document["Statement"]))
    }
    assert granted - used - UNUSED == set(), "granted, without use or reason"
    assert UNUSED & used == set(), "used after all"
