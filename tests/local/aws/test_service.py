"""The AWS emulation as its clients see it: rights, what it keeps over an end and a kill, and what it refuses."""

import base64
import hashlib
import io
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from include.settings import REGION
from local.aws import home
from local.stack import config
from tests.local.aws.conftest import PYTHON, Service, eventually

pytestmark = pytest.mark.integration


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


# --- who may do what ---
def test_the_bootstrap_user_is_an_administrator_and_not_root(service: Service) -> None:
    assert service.client("sts").get_caller_identity()["Arn"].endswith(":user/bootstrap")
    assert service.client("iam").list_users()["Users"]


@pytest.mark.parametrize("key", ["test", "123456789012"])
def test_roots_key_needs_roots_secret(service: Service, key: str) -> None:
    iam = boto3.client(
        "iam", REGION, endpoint_url=service.stack.aws_url, aws_access_key_id=key, aws_secret_access_key="test"
    )
    assert code_of(iam.list_users) == "SignatureDoesNotMatch"


def test_a_user_without_policies_is_denied(service: Service, nobody: dict[str, str]) -> None:
    assert code_of(service.client_of("s3", nobody).list_buckets) == "AccessDenied"
    assert code_of(service.client_of("eks", nobody).list_clusters) == "AccessDeniedException"
    sagemaker = service.client_of("sagemaker", nobody)
    assert code_of(sagemaker.list_model_package_groups) == "AccessDeniedException"


def test_secrets_are_for_their_owner_only(service: Service) -> None:
    folder = home.folder(service.stack)
    for name in ("root-secret", "bootstrap.json"):
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_it_listens_on_loopback_only(service: Service) -> None:
    assert service.process is not None
    connections = psutil.Process(service.process.pid).net_connections("inet")
    assert {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN} == {
        "127.0.0.1"
    }
    with socket.create_connection(("127.0.0.1", service.stack.aws)):
        pass


def test_a_second_one_on_the_same_state_is_refused(service: Service) -> None:
    second = subprocess.run(
        [PYTHON, "-m", "local.aws"], cwd=config.ROOT, env=service.env, capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "runs already" in second.stderr


# --- S3 and its stack ---
BUCKET = {
    "Resources": {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": "mlops-retail-test",
                "VersioningConfiguration": {"Status": "Enabled"},
                "LifecycleConfiguration": {
                    "Rules": [{"Id": "tmp", "Status": "Enabled", "Prefix": "tmp/", "ExpirationInDays": 7}]
                },
                "Tags": [{"Key": "Component", "Value": "lake"}],
            },
        },
        "Repository": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "mlops/test"}},
    }
}


def stack_status(service: Service, name: str) -> str:
    return service.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]


def settled(service: Service, name: str) -> str:
    return eventually(lambda: (now := stack_status(service, name)).endswith("IN_PROGRESS") is False and now)


def test_a_stack_keeps_what_is_not_empty(service: Service) -> None:
    cloudformation, s3 = service.client("cloudformation"), service.client("s3")
    stack = cloudformation.create_stack(
        StackName="full", TemplateBody=json.dumps(BUCKET), Tags=[{"Key": "Project", "Value": "RetailMLOps"}]
    )["StackId"]
    assert settled(service, "full") == "CREATE_COMPLETE"
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket="mlops-retail-test")["TagSet"]}
    assert (tags["Component"], tags["Project"]) == ("lake", "RetailMLOps")
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket="mlops-retail-test")["Rules"]
    assert rule["Expiration"] == {"Days": 7}
    s3.put_object(Bucket="mlops-retail-test", Key="raw/x", Body=b"1")
    push_image(service, "mlops/test", "1")
    cloudformation.delete_stack(StackName="full")
    assert settled(service, "full") == "DELETE_FAILED"
    for version in s3.list_object_versions(Bucket="mlops-retail-test")["Versions"]:
        s3.delete_object(Bucket="mlops-retail-test", Key=version["Key"], VersionId=version["VersionId"])
    cloudformation.delete_stack(StackName="full")
    assert settled(service, "full") == "DELETE_FAILED"  # the repository
    service.client("ecr").batch_delete_image(repositoryName="mlops/test", imageIds=[{"imageTag": "1"}])
    cloudformation.delete_stack(StackName="full")
    assert settled(service, stack) == "DELETE_COMPLETE"


def test_a_type_that_it_does_not_know_is_refused(service: Service) -> None:
    template = json.dumps({"Resources": {"X": {"Type": "AWS::Foo::Bar"}}})
    create = service.client("cloudformation").create_stack
    assert code_of(create, StackName="bogus", TemplateBody=template) == "ValidationError"


def test_a_policy_that_asks_for_tls_lets_loopback_in(service: Service) -> None:
    s3 = service.client("s3")
    s3.create_bucket(Bucket="tls-only", CreateBucketConfiguration={"LocationConstraint": REGION})
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "arn:aws:s3:::tls-only/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket="tls-only", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    s3.put_object(Bucket="tls-only", Key="x", Body=b"1")
    assert s3.get_object(Bucket="tls-only", Key="x")["Body"].read() == b"1"


# --- ECR ---
def registry(service: Service, ecr: Any, method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, Any]:
    """A call of the registry's protocol with the password that this ecr client gets; ecr None: without a password."""
    headers = {"Content-Type": kind or "application/octet-stream"}
    if ecr:
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
        headers["Authorization"] = f"Basic {token}"
    request = urllib.request.Request(f"{service.stack.aws_url}/v2/{path}", body or None, headers, method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, dict(reply.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def push_image(service: Service, repository: str, tag: str, ecr: Any = None, layer: bytes = b"layer") -> int:
    """The status of the last step of a push, or of the first that was refused."""
    ecr = ecr or service.client("ecr")
    blobs = {"sha256:" + hashlib.sha256(blob).hexdigest(): blob for blob in (b"{}", layer)}
    for digest, blob in blobs.items():
        status, answer = registry(service, ecr, "POST", f"{repository}/blobs/uploads/")
        if status >= 300:
            return status
        place = answer["Location"].removeprefix(service.stack.aws_url).removeprefix("/v2/")
        status, answer = registry(service, ecr, "PUT", f"{place}?digest={digest}", blob)
        assert status == 201, answer
    config_digest, layer_digest = blobs
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": config_digest},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": len(layer), "digest": layer_digest}],
    }
    return registry(service, ecr, "PUT", f"{repository}/manifests/{tag}", json.dumps(manifest).encode(), kind)[0]


@pytest.fixture(scope="module")
def repository(service: Service) -> str:
    service.client("ecr").create_repository(
        repositoryName="mlops/immutable",
        imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
    )
    assert push_image(service, "mlops/immutable", "first") == 201
    return "mlops/immutable"


def test_the_registry_wants_a_password(service: Service, repository: str) -> None:
    assert registry(service, None, "GET", f"{repository}/manifests/first")[0] == 401
    assert registry(service, service.client("ecr"), "GET", f"{repository}/manifests/first")[0] == 200


def test_a_deleted_image_cannot_be_pulled_by_its_digest(service: Service) -> None:
    ecr, name = service.client("ecr"), "mlops/shortlived"
    ecr.create_repository(repositoryName=name)
    push_image(service, name, "a")
    (image,) = ecr.list_images(repositoryName=name)["imageIds"]
    path = f"{name}/manifests/{image['imageDigest']}"
    assert registry(service, ecr, "GET", path)[0] == 200
    ecr.batch_delete_image(repositoryName=name, imageIds=[image])
    assert registry(service, ecr, "GET", path)[0] == 404


def test_a_wrong_password_is_refused(service: Service, repository: str) -> None:
    request = urllib.request.Request(f"{service.stack.aws_url}/v2/{repository}/manifests/first")
    request.add_header("Authorization", "Basic " + base64.b64encode(b"AWS:guess").decode())
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)


def test_the_registry_checks_rights(service: Service, repository: str) -> None:
    iam = service.client("iam")
    iam.create_user(UserName="puller")
    pull = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "ecr:BatchGetImage",
                "Resource": f"arn:aws:ecr:{REGION}:*:repository/mlops/*",
            },
        ],
    }
    iam.put_user_policy(UserName="puller", PolicyName="pull", PolicyDocument=json.dumps(pull))
    ecr = service.client_of("ecr", iam.create_access_key(UserName="puller")["AccessKey"])
    assert registry(service, ecr, "GET", f"{repository}/manifests/first")[0] == 200
    assert push_image(service, repository, "mine", ecr) == 403


def test_an_immutable_tag_is_not_moved(service: Service, repository: str) -> None:
    assert push_image(service, repository, "first", layer=b"another layer") >= 400


def test_a_scan_says_that_it_cannot_read_a_code_image(service: Service, repository: str) -> None:
    status = service.client("ecr").describe_image_scan_findings(
        repositoryName=repository, imageId={"imageTag": "first"}
    )["imageScanStatus"]
    assert status["status"] == "FAILED"
    assert "UnsupportedImageError" in status["description"]


def test_a_scan_of_no_image_is_refused(service: Service, repository: str) -> None:
    describe = service.client("ecr").describe_image_scan_findings
    assert code_of(describe, repositoryName=repository, imageId={"imageTag": "no"}) == "ImageNotFoundException"


# --- metrics and tags ---
def test_log_events_in_embedded_metric_format_become_metrics(service: Service) -> None:
    logs, cloudwatch = service.client("logs"), service.client("cloudwatch")
    logs.create_log_group(logGroupName="/t")
    logs.create_log_stream(logGroupName="/t", logStreamName="s")
    now = int(time.time() * 1000)
    directive = {"Namespace": "RetailMLOps", "Dimensions": [[]], "Metrics": [{"Name": "Requests", "Unit": "Count"}]}
    about = {"Timestamp": now, "CloudWatchMetrics": [directive]}
    messages = [
        json.dumps({"_aws": about, "Requests": 2}),
        "a plain line _aws",
        json.dumps({"_aws": about, "Requests": 3}),
    ]
    events = [{"timestamp": now, "message": message} for message in messages]
    logs.put_log_events(logGroupName="/t", logStreamName="s", logEvents=events)

    def total() -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="RetailMLOps",
            MetricName="Requests",
            StartTime=datetime.now(UTC) - timedelta(hours=1),
            EndTime=datetime.now(UTC) + timedelta(minutes=5),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    assert eventually(lambda: total() == 5.0 and total()) == 5.0


def test_log_events_are_those_of_the_streams_with_the_prefix(service: Service) -> None:
    logs, group = service.client("logs"), "/aws/sagemaker/ProcessingJobs"
    logs.create_log_group(logGroupName=group)
    for job in ("job-1", "job-10"):
        logs.create_log_stream(logGroupName=group, logStreamName=f"{job}/algo-1")
        events = [{"timestamp": int(time.time() * 1000), "message": f"of {job}"}]
        logs.put_log_events(logGroupName=group, logStreamName=f"{job}/algo-1", logEvents=events)

    def messages(**which: Any) -> list[str]:
        return sorted(event["message"] for event in logs.filter_log_events(logGroupName=group, **which)["events"])

    assert messages(logStreamNamePrefix="job-1/") == ["of job-1"]
    assert messages(logStreamNamePrefix="job-2/") == []
    assert messages(logStreamNamePrefix="job-1") == messages() == ["of job-1", "of job-10"]
    assert code_of(logs.filter_log_events, logGroupName="/none", logStreamNamePrefix="x") == "ResourceNotFoundException"


def test_metrics_are_written_into_the_namespace_that_a_policy_names_and_no_other(service: Service) -> None:
    iam = service.client("iam")
    iam.create_user(UserName="measurer")
    statement = {
        "Effect": "Allow",
        "Action": "cloudwatch:PutMetricData",
        "Resource": "*",
        "Condition": {"StringEquals": {"cloudwatch:namespace": "Mine"}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="measurer", PolicyName="mine", PolicyDocument=policy)
    key = iam.create_access_key(UserName="measurer")["AccessKey"]
    put, datum = service.client_of("cloudwatch", key).put_metric_data, {"MetricName": "m", "Value": 1}
    put(Namespace="Mine", MetricData=[datum])
    with pytest.raises(ClientError, match="AccessDenied"):
        put(Namespace="Theirs", MetricData=[datum])


def test_the_tagging_api_lists_what_teardown_asks_for(service: Service) -> None:
    tags = {"Project": "Listed"}
    pairs = [{"Key": "Project", "Value": "Listed"}]
    vpc = service.client("ec2").create_vpc(
        CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": pairs}]
    )["Vpc"]["VpcId"]
    service.client("logs").create_log_group(logGroupName="/listed", tags=tags)
    service.client("sagemaker").create_model_package_group(ModelPackageGroupName="listed", Tags=pairs)
    service.client("cloudwatch").put_metric_alarm(
        AlarmName="listed",
        Namespace="N",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Tags=pairs,
    )
    listed = service.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Project", "Values": ["Listed"]}]
    )["ResourceTagMappingList"]
    ends = sorted(resource["ResourceARN"].split(":", 5)[5] for resource in listed)
    assert ends == ["alarm:listed", "log-group:/listed", "model-package-group/listed", f"vpc/{vpc}"]


# --- the state ---
def test_everything_is_there_after_an_end_and_after_a_kill(service: Service) -> None:
    s3 = service.client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.upload_fileobj(io.BytesIO(b"v1"), "kept", "a/b")
    s3.upload_fileobj(io.BytesIO(b"v2"), "kept", "a/b")
    service.client("sns").create_topic(Name="kept")
    policy = {"Version": "2012-10-17", "Statement": []}
    user = f"arn:aws:iam::{service.client('sts').get_caller_identity()['Account']}:user/bootstrap"
    policy["Statement"] = [{"Effect": "Allow", "Principal": {"AWS": user}, "Action": "sts:AssumeRole"}]  # type: ignore[list-item]
    role = service.client("iam").create_role(RoleName="kept", AssumeRolePolicyDocument=json.dumps(policy))["Role"]
    session = service.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="kept")["Credentials"]

    def check() -> None:
        assert service.client("s3").get_object(Bucket="kept", Key="a/b")["Body"].read() == b"v2"
        assert len(service.client("s3").list_object_versions(Bucket="kept", Prefix="a/")["Versions"]) == 2
        assert "kept" in str(service.client("sns").list_topics()["Topics"])
        assert service.client("iam").get_role(RoleName="kept")["Role"]["Arn"] == role["Arn"]
        assert service.client_of("sts", session).get_caller_identity()["Arn"].endswith("assumed-role/kept/kept")

    assert service.end(signal.SIGTERM) == 0
    service.start()
    check()
    service.client("sns").create_topic(Name="late")
    file = home.folder(service.stack) / "ministack" / "sns.json"
    eventually(lambda: "late" in file.read_text(), 10)
    s3.put_object(Bucket="kept", Key="at-once", Body=b"1")
    service.end(signal.SIGKILL)
    service.start()
    check()
    assert "late" in str(service.client("sns").list_topics()["Topics"])
    assert service.client("s3").get_object(Bucket="kept", Key="at-once")["Body"].read() == b"1"


def test_only_services_that_changed_are_written(service: Service) -> None:
    folder = home.folder(service.stack) / "ministack"

    def create(topic: str) -> None:
        service.client("sns").create_topic(Name=topic)
        eventually(lambda: any(topic in path.read_text() for path in folder.glob("sns.json")), 10)

    create("first-round")  # may be among the first that it writes; by the next round the first one is through
    create("second-round")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    create("third-round")
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert {name for name in after if after[name] != before.get(name)} == {"sns.json"}
