"""Teardown against the AWS emulation, with the real templates: faults, leftovers, two environments. No cluster here."""

import json
from contextlib import suppress
from functools import cache
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, TaskDeferred
from botocore.exceptions import WaiterError

from include import lake
from include.settings import API_REPOSITORY, GITHUB_ISSUER, JOBS_REPOSITORY, MODEL_PACKAGE_GROUP, settings
from retail_mlops.common.dag_defaults import ADMIN
from retail_mlops.common.errors import RetailError
from retail_mlops.common.stacks import stack_of
from retail_mlops.hooks.s3_lake import LakeHook
from retail_mlops.teardown import operators, tasks
from retail_mlops.teardown.deletion import TeardownHook
from retail_mlops.teardown.operators import DeleteClusterOperator, DeleteStackOperator
from retail_mlops.teardown.search import InventoryHook
from tests.local.aws.conftest import service  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

STACKS = ("network", "lake", "registry", "identity", "observability", "budget", "audit")
TAGS = [{"Key": "Project", "Value": "RetailMLOps"}, {"Key": "Environment", "Value": "dev"}]
PERSON = "arn:aws:iam::123456789012:user/bootstrap"


class Account:
    """The embedded account as the person sees it, and the steps of teardown as Airflow runs them."""

    def __init__(self, service):  # noqa: F811
        self.client = cache(service.client)
        self.hook, self.inventory = TeardownHook(ADMIN), InventoryHook(ADMIN)

    def deploy(self, *components, environment="dev"):
        cloudformation = self.client("cloudformation")
        for component in components:
            request = stack_of(component, PERSON).request("first", "CREATE")
            del request["ChangeSetName"], request["ChangeSetType"]
            text = json.dumps({name: request[name] for name in ("StackName", "Parameters", "Tags")})
            request |= json.loads(text.replace('"dev"', f'"{environment}"').replace("-dev-", f"-{environment}-"))
            cloudformation.create_stack(**request)
            cloudformation.get_waiter("stack_create_complete").wait(
                StackName=request["StackName"], WaiterConfig={"Delay": 0.1}
            )

    def statuses(self):
        return self.hook.stacks()

    def delete_stack(self, component, **params):
        """One try of the operator: until the stack is gone, or the error that Airflow would retry."""
        operator = DeleteStackOperator(
            task_id="x", component=component, keep_param="keep_data" if component == "lake" else None, aws_conn_id=ADMIN
        )
        try:
            operator.execute({"params": {"keep_data": False} | params})
        except TaskDeferred:
            name = settings().stack(component)
            with suppress(WaiterError):  # of a deletion that failed: execute_complete looks at the stack itself
                waiter = self.client("cloudformation").get_waiter("stack_delete_complete")
                waiter.wait(StackName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})
            operator.execute_complete({}, {"stack_name": name, "status": "success"})

    def tear_down(self, keep_data=False):
        self.hook.stop_jobs(5, 0.1)
        self.hook.delete_images()
        self.hook.delete_packages()
        self.hook.delete_scale_record()
        self.hook.delete_logs()
        there = self.statuses()
        for component in reversed(STACKS):
            if settings().stack(component) in there:
                self.delete_stack(component, keep_data=keep_data)
        self.hook.delete_retained(frozenset({settings().bucket} if keep_data else ()))

    def left(self, keep_data=False):
        return {row.arn for row in self.inventory.take(keep_data).left}


@pytest.fixture(scope="module")
def shared(service):  # noqa: F811
    """Clients take long to make: one account for all tests."""
    keys = json.loads((service.state / "aws" / "bootstrap.json").read_text())
    connection = {
        "conn_type": "aws",
        "login": keys["AccessKeyId"],
        "password": keys["SecretAccessKey"],
        "extra": {"region_name": settings().region, "endpoint_url": service.stack.aws_url},
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_CONN_AWS_ADMIN", json.dumps(connection))
        yield Account(service)


@pytest.fixture
def account(shared, monkeypatch):
    """An account in which nothing is left of any environment, before and after."""
    monkeypatch.setattr(tasks, "INVENTORY_POLLS", -1)
    monkeypatch.setattr(tasks, "InventoryHook", lambda _connection: shared.inventory)
    monkeypatch.setattr(operators, "TeardownHook", lambda _connection: shared.hook)
    yield shared
    shared.tear_down()
    assert shared.left() == set(), "a test left something behind"


def in_task(monkeypatch, **params):
    """Let a task's callable see these Params."""
    context = {"params": {"confirm": "dev", "keep_data": False, "confirm_twice": False} | params}
    monkeypatch.setattr(tasks, "get_current_context", lambda: context)
    return context


# --- the whole of it ---
def test_everything_goes_and_the_inventory_is_empty(account, monkeypatch):
    account.deploy(*STACKS)
    s3, ecr, sagemaker = account.client("s3"), account.client("ecr"), account.client("sagemaker")
    for number in range(3):
        s3.put_object(Bucket=settings().bucket, Key="gold/x", Body=str(number).encode())
    s3.delete_object(Bucket=settings().bucket, Key="gold/x")
    for repository in (API_REPOSITORY, JOBS_REPOSITORY):
        ecr.put_image(repositoryName=repository, imageManifest=json.dumps({"schemaVersion": 2}), imageTag="a")
    for _ in range(12):
        sagemaker.create_model_package(
            ModelPackageGroupName=MODEL_PACKAGE_GROUP,
            InferenceSpecification={
                "Containers": [{"Image": "i", "ModelDataUrl": "s3://b/k"}],
                "SupportedContentTypes": ["application/json"],
                "SupportedResponseMIMETypes": ["application/json"],
            },
        )
    before = account.inventory.take()
    assert before.monthly > 0
    assert {row.note for row in before.left if row.arn.endswith(settings().bucket)} != {""}

    account.tear_down()

    in_task(monkeypatch)
    assert tasks.verify_deleted() == {"left": 0, "kept": [PERSON]}
    assert account.statuses() == {}


def test_tearing_down_twice_is_the_same_as_once(account):
    account.deploy("network")
    account.tear_down()
    account.tear_down()
    assert account.left() == set()


def test_keep_data_keeps_the_lake_and_nothing_else(account):
    account.deploy(*STACKS)
    for key in ("raw/x", lake.SCALED_DOWN):
        account.client("s3").put_object(Bucket=settings().bucket, Key=key, Body=b"1")

    account.tear_down(keep_data=True)

    found = account.inventory.take(keep_data=True)
    assert found.left == ()
    assert {row.why for row in found.kept} == {"keep_data", "the identity that this runs as"}
    assert account.statuses() == {"mlops-retail-dev-lake": "CREATE_COMPLETE"}
    assert account.client("s3").get_object(Bucket=settings().bucket, Key="raw/x")["Body"].read() == b"1"
    assert LakeHook(ADMIN).document(lake.SCALED_DOWN) is None  # the next environment is not scaled down


# --- faults ---
def test_delete_failed_stack_says_why_and_the_next_try_finishes(account, monkeypatch):
    account.deploy("lake")
    account.client("s3").put_object(Bucket=settings().bucket, Key="raw/x", Body=b"1")
    with monkeypatch.context() as late:
        late.setattr(TeardownHook, "empty_buckets", lambda *_: 0)  # somebody writes after the emptying
        with pytest.raises(AirflowException, match=r"(?s)DELETE_FAILED:.*Bucket \(AWS::S3::Bucket\): .*not empty"):
            account.delete_stack("lake")

    account.delete_stack("lake")

    assert account.statuses() == {}


def test_repository_with_images_blocks_its_stack_until_they_are_gone(account):
    account.deploy("registry")
    account.client("ecr").put_image(
        repositoryName=API_REPOSITORY, imageManifest=json.dumps({"schemaVersion": 2}), imageTag="a"
    )
    with pytest.raises(AirflowException, match=r"ApiRepository \(AWS::ECR::Repository\)"):
        account.delete_stack("registry")
    assert account.hook.delete_images() == 1
    account.delete_stack("registry")
    assert account.statuses() == {}


def test_objects_that_may_not_be_deleted_are_named_one_by_one(account):
    s3, bucket = account.client("s3"), "mlops-retail-dev-locked"
    where = {"LocationConstraint": settings().region}
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where, ObjectLockEnabledForBucket=True)
    for key in ("raw/held", "raw/free"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"1")
    s3.put_object_legal_hold(Bucket=bucket, Key="raw/held", LegalHold={"Status": "ON"})
    with pytest.raises(AirflowException, match=r"1 object versions .* could not .*:\nraw/held \(.+\): AccessDenied"):
        account.hook.empty_bucket(bucket)
    s3.put_object_legal_hold(Bucket=bucket, Key="raw/held", LegalHold={"Status": "OFF"})
    assert account.hook.empty_bucket(bucket) == 1
    s3.delete_bucket(Bucket=bucket)


def test_more_versions_than_one_call_deletes(account):
    account.deploy("lake")
    s3 = account.client("s3")
    for number in range(1005):
        s3.put_object(Bucket=settings().bucket, Key=f"tmp/{number % 7}", Body=b"")
    assert account.hook.empty_buckets("lake") == 1005


def test_unused_interface_is_removed_and_a_used_one_blocks_and_is_named(account):
    account.deploy("network")
    ec2 = account.client("ec2")
    subnets = account.hook.made_by_stack("network", "AWS::EC2::Subnet")
    unused = ec2.create_network_interface(SubnetId=subnets[0])["NetworkInterface"]["NetworkInterfaceId"]
    used = ec2.create_network_interface(SubnetId=subnets[1])["NetworkInterface"]["NetworkInterfaceId"]
    instance = ec2.run_instances(ImageId="ami-1", InstanceType="t3.small", MinCount=1, MaxCount=1)["Instances"][0]
    attachment = ec2.attach_network_interface(
        NetworkInterfaceId=used, InstanceId=instance["InstanceId"], DeviceIndex=1
    )["AttachmentId"]

    assert [text for text in account.hook.free_network("network") if used in text]
    with pytest.raises(AirflowException, match="DependencyViolation"):
        account.delete_stack("network")
    left = account.left()
    assert any(arn.endswith(used) for arn in left)
    assert not any(arn.endswith(unused) for arn in left)

    ec2.detach_network_interface(AttachmentId=attachment)
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    account.delete_stack("network")
    assert account.statuses() == {}


def test_retained_bucket_and_log_group_go_at_the_end(account):
    template = {
        "Resources": {
            "Bucket": {
                "Type": "AWS::S3::Bucket",
                "DeletionPolicy": "Retain",
                "Properties": {"BucketName": "mlops-retail-audit-dev-123456789012"},
            },
            "Group": {
                "Type": "AWS::Logs::LogGroup",
                "DeletionPolicy": "Retain",
                "Properties": {"LogGroupName": "/retail-mlops/dev/audit"},
            },
            "Topic": {
                "Type": "AWS::SNS::Topic",
                "DeletionPolicy": "Retain",
                "Properties": {"TopicName": "mlops-retail-dev-retained"},
            },
        }
    }
    cloudformation = account.client("cloudformation")
    cloudformation.create_stack(StackName="mlops-retail-dev-audit", TemplateBody=json.dumps(template))
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="mlops-retail-dev-audit", WaiterConfig={"Delay": 0.1}
    )
    account.client("s3").put_object(Bucket="mlops-retail-audit-dev-123456789012", Key="x", Body=b"1")
    account.delete_stack("audit")  # empties the bucket, and leaves it
    assert len(account.left()) == 3

    went, to_a_person = account.hook.delete_retained(frozenset())

    assert "AWS::S3::Bucket mlops-retail-audit-dev-123456789012" in went
    assert "AWS::Logs::LogGroup /retail-mlops/dev/audit" in went
    assert to_a_person == ["AWS::SNS::Topic arn:aws:sns:ap-southeast-1:123456789012:mlops-retail-dev-retained"]
    assert account.left() == {"arn:aws:sns:ap-southeast-1:123456789012:mlops-retail-dev-retained"}
    account.client("sns").delete_topic(TopicArn="arn:aws:sns:ap-southeast-1:123456789012:mlops-retail-dev-retained")


def test_only_our_jobs_streams_leave_the_groups_that_sagemaker_shares(account):
    logs, group = account.client("logs"), "/aws/sagemaker/TrainingJobs"
    with suppress(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    for stream in ("mlops-retail-dev-train-fit-1/algo-1", "mlops-retail-devil-train/algo-1", "somebody/algo-1"):
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    assert len(account.left()) == 1

    account.hook.delete_logs()

    names = [stream["logStreamName"] for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]]
    assert names == ["mlops-retail-devil-train/algo-1", "somebody/algo-1"]
    logs.delete_log_group(logGroupName=group)


def test_github_login_stays_for_other_environments_and_is_said_to(account, monkeypatch):
    iam, tags = account.client("iam"), [{"Key": "Project", "Value": "RetailMLOps"}]
    provider = iam.create_open_id_connect_provider(Url=f"https://{GITHUB_ISSUER}", ClientIDList=["a"], Tags=tags)
    arn = provider["OpenIDConnectProviderArn"]
    account.deploy("lake", "registry", "identity")

    account.tear_down()

    in_task(monkeypatch)
    assert set(tasks.verify_deleted()["kept"]) == {PERSON, arn}
    assert arn in {one["Arn"] for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]}
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def test_orphaned_load_balancer_of_the_cluster_goes(account):
    elb = account.client("elbv2")
    for name, cluster in (("a1", "mlops-retail-cluster"), ("b1", "another-cluster")):
        tag = {"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"}
        elb.create_load_balancer(Name=name, Type="network", Tags=[tag])
    assert account.hook.delete_orphaned_balancers() == ["a1"]
    others = elb.describe_load_balancers()["LoadBalancers"]
    assert [one["LoadBalancerName"] for one in others] == ["b1"]
    elb.delete_load_balancer(LoadBalancerArn=others[0]["LoadBalancerArn"])


def test_load_balancer_of_a_cluster_that_no_stack_of_ours_made_stays(account, monkeypatch):
    tag = {"Key": "kubernetes.io/cluster/mlops-retail-cluster", "Value": "owned"}
    arn = account.client("elbv2").create_load_balancer(Name="foreign", Type="network", Tags=[tag])
    arn = arn["LoadBalancers"][0]["LoadBalancerArn"]
    there = {"cluster": {"name": "mlops-retail-cluster", "status": "ACTIVE"}}
    monkeypatch.setattr(account.hook.client("eks"), "describe_cluster", lambda name: there)
    assert account.hook.owns_cluster_name() is False
    assert account.hook.delete_orphaned_balancers() == []
    monkeypatch.undo()
    assert account.hook.owns_cluster_name() is True
    account.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)


def test_without_a_cluster_its_step_does_nothing(account):
    DeleteClusterOperator(task_id="cluster", aws_conn_id=ADMIN).execute({})


# --- planted leftovers ---
def plant_log_group(account):
    logs, name = account.client("logs"), "/retail-mlops/dev/planted"
    logs.create_log_group(logGroupName=name)
    return name, lambda: logs.delete_log_group(logGroupName=name)


def plant_object_version(account):
    s3, name = account.client("s3"), settings().bucket
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": settings().region})
    s3.put_object(Bucket=name, Key="raw/planted", Body=b"1")

    def remove():
        account.hook.empty_bucket(name)
        s3.delete_bucket(Bucket=name)

    return "raw/planted", remove


def plant_alarm(account):
    cloudwatch, name = account.client("cloudwatch"), "mlops-retail-dev-planted"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        Statistic="Sum",
        ComparisonOperator="GreaterThanThreshold",
    )
    return f"alarm:{name}", lambda: cloudwatch.delete_alarms(AlarmNames=[name])


def plant_role(account):
    iam, name = account.client("iam"), "leftover-by-tag"
    iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}),
        Tags=TAGS,
    )
    return f"role/{name}", lambda: iam.delete_role(RoleName=name)


def plant_load_balancer(account):
    elb = account.client("elbv2")
    made = elb.create_load_balancer(Name="planted", Type="network", Tags=TAGS)["LoadBalancers"][0]["LoadBalancerArn"]
    return made, lambda: elb.delete_load_balancer(LoadBalancerArn=made)


def test_planted_leftovers_survive_a_teardown_that_fails_and_names_each(account, monkeypatch):
    planted = [
        plant(account)
        for plant in (plant_log_group, plant_object_version, plant_alarm, plant_role, plant_load_balancer)
    ]
    account.tear_down()  # by the stacks' records: what only looks like ours is not deleted
    in_task(monkeypatch)
    with pytest.raises(RetailError, match=r"5 resources of dev are left; they cost USD \d") as refused:
        tasks.verify_deleted()
    for name, _ in planted:
        assert name in str(refused.value)
    for _, remove in planted:
        remove()
    assert tasks.verify_deleted()["left"] == 0


# --- two environments ---
def test_the_other_environment_of_the_account_is_untouched(account):
    account.deploy("network", "lake", environment="prod")
    account.deploy("network", "lake", "registry", "identity", "observability")
    logs, s3 = account.client("logs"), account.client("s3")
    other = settings().bucket.replace("-dev-", "-prod-")
    s3.put_object(Bucket=other, Key="raw/x", Body=b"1")
    logs.create_log_group(logGroupName="/retail-mlops/prod/api")
    interface = account.client("ec2").create_network_interface(
        SubnetId=next(
            one["PhysicalResourceId"]
            for one in account.client("cloudformation").describe_stack_resources(StackName="mlops-retail-prod-network")[
                "StackResources"
            ]
            if one["ResourceType"] == "AWS::EC2::Subnet"
        )
    )["NetworkInterface"]["NetworkInterfaceId"]

    account.tear_down()

    assert account.left() == set()
    assert set(account.statuses()) == {"mlops-retail-prod-network", "mlops-retail-prod-lake"}
    assert s3.get_object(Bucket=other, Key="raw/x")["Body"].read() == b"1"
    account.client("ec2").delete_network_interface(NetworkInterfaceId=interface)
    logs.delete_log_group(logGroupName="/retail-mlops/prod/api")
    account.hook.empty_bucket(other)
    for component in ("lake", "network"):
        name = f"mlops-retail-prod-{component}"
        account.client("cloudformation").delete_stack(StackName=name)
        account.client("cloudformation").get_waiter("stack_delete_complete").wait(
            StackName=name, WaiterConfig={"Delay": 0.1}
        )


def test_repositories_and_models_of_another_environment_are_untouched(account):
    account.deploy("registry", environment="prod")
    ecr = account.client("ecr")
    ecr.put_image(repositoryName=API_REPOSITORY, imageManifest=json.dumps({"schemaVersion": 2}), imageTag="a")

    account.tear_down()

    assert account.left() == set()
    assert len(ecr.list_images(repositoryName=API_REPOSITORY)["imageIds"]) == 1
    ecr.batch_delete_image(repositoryName=API_REPOSITORY, imageIds=[{"imageTag": "a"}])
    account.client("cloudformation").delete_stack(StackName="mlops-retail-prod-registry")
    account.client("cloudformation").get_waiter("stack_delete_complete").wait(
        StackName="mlops-retail-prod-registry", WaiterConfig={"Delay": 0.1}
    )


# --- refusals ---
@pytest.mark.parametrize("typed", ["", "DEV", "prod", "dev "])
def test_wrong_confirmation_is_refused(typed):
    with pytest.raises(RetailError, match="nothing was touched"):
        tasks.require_confirmation(typed)


def test_right_confirmation_is_taken():
    tasks.require_confirmation("dev")


def test_busy_dags_are_named():
    with pytest.raises(RetailError, match=r"under way of etl \(2\), train \(1\)"):
        tasks.refuse_while_others_run({"train": 1, "deploy": 0, "etl": 2})
    tasks.refuse_while_others_run({"train": 0})


@pytest.mark.parametrize("by", ["admin", None])
def test_rejected_second_question_ends_the_run(monkeypatch, by):
    answer = {"choice": "Reject", "by": by, "at": "2026-01-01T00:00:00+00:00", "reason": ""}
    context = in_task(monkeypatch, confirm_twice=True)
    context["ti"] = SimpleNamespace(
        dag_id="teardown", xcom_pull=lambda task_ids, key: answer, get_dr_count=lambda dag_id, states: 0
    )
    with pytest.raises(RetailError, match="nothing was deleted"):
        tasks.check_confirmation()
    answer["choice"] = "Approve"
    tasks.check_confirmation()
