"""Jobs on a running AWS emulation: real processes, the job role's rights, logs, metrics, stop, time limit, crash."""

import io
import json
import signal
import tarfile

import pytest
from botocore.exceptions import ClientError

from cli.images import code_image
from include.settings import JOBS_REPOSITORY, settings
from local.aws import credentials
from tests.local.aws.conftest import eventually

pytestmark = pytest.mark.integration

BUCKET = "mlops-jobs-test"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PULL = [
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
]
REST = ["s3:ListBucket", "s3:GetObject", "logs:*", "cloudwatch:PutMetricData"]

FIT_SCRIPT = """
import json, os, pathlib
base = pathlib.Path(os.environ["SAGEMAKER_BASE_DIR"])
parameters = json.loads((base / "input/config/hyperparameters.json").read_text())
for path in sorted((base / "input/data").rglob("*.txt")):
    if path.is_file():
        print("input", path.relative_to(base / "input/data"), path.read_text())
print("trees", parameters["trees"], "own", os.environ["OWN"])
print("validation:accuracy=0.5;")
print("validation:accuracy=0.75;")
(base / "model/weights.txt").write_text("1 2 3")
(base / "model/deep").mkdir()
(base / "model/deep/er.txt").write_text("4")
"""
FIT = "import os, runpy; runpy.run_path(os.environ['SAGEMAKER_BASE_DIR'] + '/input/data/code/fit.py')"
"""AWS takes arguments of at most 256 characters."""


@pytest.fixture(scope="module")
def aws(service):
    yield service
    assert service.end(signal.SIGTERM) == 0
    assert service.children() == []


@pytest.fixture(scope="module")
def image(aws):
    aws.client("ecr").create_repository(repositoryName=JOBS_REPOSITORY)
    return code_image.push(credentials.session(aws.stack), aws.stack, code_image.build(JOBS_REPOSITORY))


def make_role(aws, name, actions):
    iam = aws.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(document))
    return arn


@pytest.fixture(scope="module")
def role(aws):
    return make_role(aws, "job", [*PULL, *REST, "s3:PutObject"])


@pytest.fixture(scope="module")
def bucket(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": settings().region})
    for key in ("in/a.txt", "in/deep/b.txt", "in/c.txt"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    s3.put_object(Bucket=BUCKET, Key="code/fit.py", Body=FIT_SCRIPT.encode())
    manifest = json.dumps([{"prefix": f"s3://{BUCKET}/in/"}, "deep/b.txt"])
    s3.put_object(Bucket=BUCKET, Key="manifests/one.json", Body=manifest.encode())
    return s3


def training(name, image, role, code, **values):
    """CreateTrainingJob of a line of Python."""
    channels = [
        ("whole", "S3Prefix", f"s3://{BUCKET}/in/"),
        ("listed", "ManifestFile", f"s3://{BUCKET}/manifests/one.json"),
        ("code", "S3Prefix", f"s3://{BUCKET}/code/fit.py"),
    ]
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-c"],
            "ContainerArguments": [code],
            "MetricDefinitions": [{"Name": "validation:accuracy", "Regex": "validation:accuracy=([0-9.]+);"}],
        },
        "HyperParameters": {"trees": "7"},
        "InputDataConfig": [
            {"ChannelName": channel, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": url}}}
            for channel, kind, url in channels
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": role,
        "Environment": {"OWN": "variable"},
        "Tags": [{"Key": "Component", "Value": "training"}],
    } | values


def processing(name, image, role, code, arguments=()):
    return {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python", "-c"],
            "ContainerArguments": [code, *arguments],
        },
        "ProcessingInputs": [
            {
                "InputName": "raw",
                "S3Input": {
                    "S3Uri": f"s3://{BUCKET}/in/a.txt",
                    "LocalPath": "/opt/ml/processing/input/raw",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": "silver",
                    "S3Output": {
                        "S3Uri": f"s3://{BUCKET}/silver",
                        "LocalPath": "/opt/ml/processing/output/silver",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": role,
    }


def wait(describe, until=lambda job: job["status"] in ("Completed", "Failed", "Stopped"), seconds=40):
    """The job when `until` is true of it; `status` holds its status."""
    last = {}

    def is_reached():
        last.clear()
        last.update(describe())
        last["status"] = last.get("TrainingJobStatus") or last["ProcessingJobStatus"]
        return until(last)

    try:
        eventually(is_reached, seconds)
    except AssertionError:
        pytest.fail(f"not reached after {seconds} s: {last}")
    return last


def run_training(aws, request, **options):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_training_job(**request)
    return wait(lambda: sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"]), **options)


def run_processing(aws, request):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_processing_job(**request)
    return wait(lambda: sagemaker.describe_processing_job(ProcessingJobName=request["ProcessingJobName"]))


def log_lines(aws, kind, name):
    pages = (
        aws.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=f"/aws/sagemaker/{kind}Jobs", logStreamNamePrefix=f"{name}/algo-1-")
    )
    return [event["message"] for page in pages for event in page["events"]]


def test_training_job_leaves_artifact_logs_and_metrics(aws, image, role, bucket):
    job = run_training(aws, training("fits", image, role, FIT))
    assert job["status"] == "Completed", job
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{BUCKET}/out/fits/output/model.tar.gz"
    body = bucket.get_object(Bucket=BUCKET, Key="out/fits/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        assert sorted(tar.getnames()) == ["deep", "deep/er.txt", "weights.txt"]
    assert log_lines(aws, "Training", "fits") == [
        "input listed/deep/b.txt in/deep/b.txt",
        "input whole/a.txt in/a.txt",
        "input whole/c.txt in/c.txt",
        "input whole/deep/b.txt in/deep/b.txt",
        "trees 7 own variable",
        "validation:accuracy=0.5;",
        "validation:accuracy=0.75;",
    ]
    assert [(m["MetricName"], m["Value"]) for m in job["FinalMetricDataList"]] == [("validation:accuracy", 0.75)]
    states = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    assert states == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    metrics = aws.client("cloudwatch").list_metrics(Namespace="/aws/sagemaker/TrainingJobs")["Metrics"]
    assert {"Name": "Host", "Value": "fits/algo-1"} in [d for metric in metrics for d in metric["Dimensions"]]
    assert aws.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"] == [
        {"Key": "Component", "Value": "training"}
    ]
    assert list((aws.stack.state / "aws/jobs").iterdir()) == []


def test_same_model_has_the_same_archive(aws, image, role, bucket):
    bodies = []
    for name in ("same-1", "same-2"):
        assert run_training(aws, training(name, image, role, FIT))["status"] == "Completed"
        bodies.append(bucket.get_object(Bucket=BUCKET, Key=f"out/{name}/output/model.tar.gz")["Body"].read())
    assert bodies[0] == bodies[1]


def test_failing_job_says_why(aws, image, role, bucket):
    code = (
        "import os, pathlib, sys; base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR']); "
        "(base / 'output/failure').write_text('week 200810 has no rows'); sys.exit(3)"
    )
    job = run_training(aws, training("fails", image, role, code))
    assert (job["status"], job["SecondaryStatus"]) == ("Failed", "Failed")
    assert job["FailureReason"] == "AlgorithmError: week 200810 has no rows, exit code: 3"


def test_failing_job_without_a_note_shows_its_last_lines(aws, image, role, bucket):
    job = run_training(aws, training("raises", image, role, "raise ValueError('no label')"))
    assert job["FailureReason"].startswith("AlgorithmError: ")
    assert "ValueError: no label, exit code: 1" in job["FailureReason"]


def test_job_over_its_time_is_stopped(aws, image, role, bucket):
    request = training("slow", image, role, "import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    job = run_training(aws, request)
    assert (job["status"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_stop_ends_a_running_job_and_its_children(aws, image, role, bucket):
    sagemaker = aws.client("sagemaker")
    code = "import subprocess, time; subprocess.Popen(['sleep', '61']); print('up', flush=True); time.sleep(60)"
    sagemaker.create_training_job(**training("stopped", image, role, code))
    describe = lambda: sagemaker.describe_training_job(TrainingJobName="stopped")  # noqa: E731
    wait(describe, lambda job: job["SecondaryStatus"] == "Training")
    eventually(lambda: len(aws.children()) == 2)  # the job, and what it started
    sagemaker.stop_training_job(TrainingJobName="stopped")
    job = wait(describe)
    assert (job["status"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    with pytest.raises(ClientError, match="job is in status Stopped") as refused:
        sagemaker.stop_training_job(TrainingJobName="stopped")
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert aws.children() == []


def test_job_that_ignores_sigterm_is_killed(aws, image, role, bucket):
    sagemaker = aws.client("sagemaker")
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    sagemaker.create_processing_job(**processing("stubborn", image, role, code))
    describe = lambda: sagemaker.describe_processing_job(ProcessingJobName="stubborn")  # noqa: E731
    eventually(lambda: log_lines(aws, "Processing", "stubborn") == ["deaf"])
    sagemaker.stop_processing_job(ProcessingJobName="stubborn")
    assert describe()["ProcessingJobStatus"] == "Stopping"
    assert wait(describe, seconds=20)["status"] == "Stopped"


def test_two_jobs_run_at_once_and_a_third_waits(aws, image, role, bucket):
    sagemaker = aws.client("sagemaker")
    for name in ("first", "second", "third"):
        sagemaker.create_training_job(**training(name, image, role, "import time; time.sleep(60)"))

    def secondary():
        return {
            n: sagemaker.describe_training_job(TrainingJobName=n)["SecondaryStatus"]
            for n in ("first", "second", "third")
        }

    eventually(lambda: secondary() == {"first": "Training", "second": "Training", "third": "Starting"}, 20)
    sagemaker.stop_training_job(TrainingJobName="third")
    assert secondary()["third"] == "Stopped"
    for name in ("first", "second"):
        sagemaker.stop_training_job(TrainingJobName=name)
        wait(lambda name=name: sagemaker.describe_training_job(TrainingJobName=name))


def test_role_without_the_right_to_write_fails_the_job(aws, image, bucket):
    reader = make_role(aws, "reader", [*PULL, *REST])
    job = run_training(aws, training("reads-only", image, reader, FIT))
    assert job["status"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: Artifact upload failed")
    assert "AccessDenied" in job["FailureReason"]


def test_role_without_the_right_to_pull_fails_the_job(aws, image, bucket):
    stranger = make_role(aws, "stranger", [*REST, "s3:PutObject"])
    job = run_training(aws, training("no-pull", image, stranger, FIT))
    assert job["status"] == "Failed"
    assert "AccessDenied" in job["FailureReason"]


def test_job_itself_acts_with_its_role(aws, image, role, bucket):
    code = (
        "import json, os, urllib.request as u; e = os.environ; r = u.Request(e['AWS_CONTAINER_CREDENTIALS_FULL_URI'], "
        "headers={'Authorization': e['AWS_CONTAINER_AUTHORIZATION_TOKEN']}); "
        "print(e.get('AWS_ACCESS_KEY_ID'), json.load(u.urlopen(r))['Token'])"
    )
    assert run_processing(aws, processing("itself", image, role, code))["status"] == "Completed"
    inherited, token = log_lines(aws, "Processing", "itself")[0].split()
    assert (inherited, len(token) > 40) == ("None", True)


def test_image_brings_the_code_of_the_jobs(aws, image, role, bucket):
    request = training("code", image, role, "")
    request["AlgorithmSpecification"] |= {
        "ContainerEntrypoint": ["python", "-m", "include.train"],
        "ContainerArguments": ["fit"],
    }
    job = run_training(aws, request)
    assert job["FailureReason"].startswith("AlgorithmError: fit"), job


def test_wrong_digest_is_refused(aws, image, role, bucket):
    wrong = image.partition("@")[0] + "@sha256:" + "0" * 64
    job = run_training(aws, training("wrong-image", wrong, role, FIT))
    assert job["status"] == "Failed"
    assert job["FailureReason"].startswith(f"ClientError: manifest sha256:{'0' * 64} of mlops/retail-jobs: 404")


def test_empty_prefix_is_named(aws, image, role, bucket):
    request = processing("empty", image, role, "")
    request["ProcessingInputs"][0]["S3Input"]["S3Uri"] = f"s3://{BUCKET}/nothing/"
    job = run_processing(aws, request)
    assert f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing/"' in job["FailureReason"]


def test_processing_job_moves_its_input_to_its_output(aws, image, role, bucket):
    code = (
        "import os, pathlib, sys; base = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR']) / 'processing'; "
        "text = (base / 'input/raw/a.txt').read_text(); out = base / 'output/silver/shop_week=200810'; out.mkdir(); "
        "(out / 'part.txt').write_text(text + sys.argv[1])"
    )
    job = run_processing(aws, processing("moves", image, role, code, [" and /opt/ml as it is"]))
    assert job["status"] == "Completed", job
    body = bucket.get_object(Bucket=BUCKET, Key="silver/shop_week=200810/part.txt")["Body"].read()
    assert body == b"in/a.txt and /opt/ml as it is"


def test_duplicate_name_is_refused(aws, image, role, bucket):
    run_processing(aws, processing("twice", image, role, ""))
    with pytest.raises(ClientError, match="already exists") as refused:
        aws.client("sagemaker").create_processing_job(**processing("twice", image, role, ""))
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"


def test_role_that_sagemaker_cannot_assume_is_refused_at_once(aws, image, bucket):
    absent = f"arn:aws:iam::{settings().account_id}:role/absent"
    with pytest.raises(ClientError, match="Could not assume role") as refused:
        aws.client("sagemaker").create_training_job(**training("absent", image, absent, FIT))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_caller_needs_pass_role_for_sagemaker(aws, image, role, bucket):
    iam, sts = aws.client("iam"), aws.client("sts")
    who = sts.get_caller_identity()["Arn"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": who}, "Action": "sts:AssumeRole"}],
    }
    arn = iam.create_role(RoleName="starter", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]

    def allow(*statements):
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}
        iam.put_role_policy(RoleName="starter", PolicyName="all", PolicyDocument=json.dumps(document))

    def start(name):
        keys = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        aws.client_of("sagemaker", keys).create_processing_job(**processing(name, image, role, ""))

    jobs = {"Action": "sagemaker:*", "Resource": "*"}
    passing = {"Action": "iam:PassRole", "Resource": role}
    elsewhere = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    here = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    for statements in ([jobs], [jobs, {**passing, "Condition": elsewhere}]):
        allow(*statements)
        with pytest.raises(ClientError, match="iam:PassRole") as refused:
            start("not-passed")
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    allow(jobs, {**passing, "Condition": here})
    start("passed")


def test_unknown_operation_is_aws_own_error(aws):
    with pytest.raises(ClientError) as refused:
        aws.client("sagemaker").list_notebook_instances()
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


def test_unsigned_request_is_refused(aws):
    from botocore import UNSIGNED
    from botocore.config import Config

    client = credentials.session(aws.stack).client("sagemaker", config=Config(signature_version=UNSIGNED))
    with pytest.raises(ClientError) as refused:
        client.list_training_jobs()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_approval_says_who_and_when(aws):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="approvals")
    arn = sagemaker.create_model_package(ModelPackageGroupName="approvals")["ModelPackageArn"]
    sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="by a person"
    )
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "by a person")
    assert package["LastModifiedBy"]["IamIdentity"]["Arn"].endswith(":user/bootstrap")
    assert package["LastModifiedTime"] >= package["CreationTime"]


def test_job_that_a_crash_interrupted_is_failed_at_the_next_start(aws, image, role, bucket):
    sagemaker = aws.client("sagemaker")
    sagemaker.create_training_job(**training("cut-off", image, role, "import time; time.sleep(120)"))
    describe = lambda: aws.client("sagemaker").describe_training_job(TrainingJobName="cut-off")  # noqa: E731
    wait(describe, lambda job: job["SecondaryStatus"] == "Training")
    aws.end(signal.SIGKILL)
    aws.start()
    job = wait(describe)
    assert job["status"] == "Failed"
    assert job["FailureReason"].startswith("InternalServerError: the AWS emulation ended while the job ran")
    assert aws.children() == []
