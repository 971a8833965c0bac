"""The registry, the store and the refusals of the embedded SageMaker: no process, no network."""

import itertools
import json

import pytest
from ministack.services import iam

from local.aws.sagemaker import job_checks, job_data, job_state, model_registry, protocol, training_run
from local.aws.sagemaker import jobs as sagemaker_jobs
from local.aws.sagemaker.job_run import Platform
from local.aws.sagemaker.protocol import AwsError, Call
from local.aws.sagemaker.service import SageMaker, resource_arn
from local.aws.sagemaker.store import Store
from local.aws.sagemaker.validation import validate
from retail_mlops.common import job_requests as requests

REGION, ACCOUNT = "ap-southeast-1", "123456789012"
GROUP = "retail-price-sensitivity-models"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/mlops/retail-jobs@sha256:{'0' * 64}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"


@pytest.fixture
def platform(tmp_path):
    return Platform("http://127.0.0.1:1", tmp_path, tmp_path / "cache", {})


@pytest.fixture
def service(tmp_path, platform):
    made = SageMaker(Store(tmp_path / "sagemaker.db"), platform)
    yield made
    made.close()
    made.store.close()


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is a second later."""
    seconds = itertools.count(1_700_000_000)
    for module in (protocol, job_state, training_run, model_registry):
        monkeypatch.setattr(module, "now", lambda: float(next(seconds)))


@pytest.fixture
def role():
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"RoleId": "AROAEXAMPLE", "AssumeRolePolicyDocument": json.dumps({"Statement": [trust]})}
    iam._roles.set_scoped(ACCOUNT, None, "job", document)
    yield ROLE
    iam._roles.pop_scoped(ACCOUNT, None, "job")


@pytest.fixture
def call(service):
    """Calls an operation: call("CreateModelPackage", ModelPackageGroupName=…)."""
    who = {"Arn": f"arn:aws:iam::{ACCOUNT}:user/bootstrap", "PrincipalId": "AIDA"}
    return lambda operation, **request: service.handle(Call(operation, request, REGION, ACCOUNT, who))


@pytest.fixture
def group(call, clock):
    call("CreateModelPackageGroup", ModelPackageGroupName=GROUP, Tags=[{"Key": "Project", "Value": "RetailMLOps"}])
    return GROUP


def refused(call, operation, **request):
    """(code, text) of the refusal."""
    with pytest.raises(AwsError) as caught:
        call(operation, **request)
    return caught.value.code, str(caught.value)


def training(**values):
    return {
        "TrainingJobName": "fit",
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "RoleArn": ROLE,
    } | values


def processing(**values):
    return {
        "ProcessingJobName": "clean",
        "AppSpecification": {"ImageUri": IMAGE},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.large", "VolumeSizeInGB": 30}
        },
        "RoleArn": ROLE,
    } | values


# --- the registry -----------------------------------------------------------------------------
def test_group_of_the_same_name_is_refused_in_aws_words(call, group):
    code, text = refused(call, "CreateModelPackageGroup", ModelPackageGroupName=group)
    assert code == "ValidationException"
    assert text.startswith("Model Package Group already exists: arn:aws:sagemaker:")


def test_missing_group_and_package_are_validation_errors(call, group):
    assert refused(call, "DescribeModelPackageGroup", ModelPackageGroupName="absent")[0] == "ValidationException"
    code, text = refused(call, "DescribeModelPackage", ModelPackageName=f"{group}/9")
    assert (code, text.endswith("/9 does not exist.")) == ("ValidationException", True)


def test_packages_are_numbered_and_wait_for_approval(call, group):
    arns = [call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"] for _ in range(2)]
    assert [arn.rpartition("/")[2] for arn in arns] == ["1", "2"]
    package = call("DescribeModelPackage", ModelPackageName=f"{group}/2")
    assert (package["ModelPackageArn"], package["ModelApprovalStatus"]) == (arns[1], "PendingManualApproval")


def test_number_of_a_deleted_package_is_not_used_again(call, group):
    first = call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"]
    call("DeleteModelPackage", ModelPackageName=first)
    assert call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"].endswith("/2")


def test_same_client_token_makes_one_package(call, group):
    request = {"ModelPackageGroupName": group, "ModelPackageDescription": "once", "ClientToken": "a-token"}
    assert call("CreateModelPackage", **request) == call("CreateModelPackage", **request)
    assert len(call("ListModelPackages", ModelPackageGroupName=group)["ModelPackageSummaryList"]) == 1


def test_client_token_with_another_request_is_a_conflict(call, group):
    call("CreateModelPackage", ModelPackageGroupName=group, ClientToken="a-token")
    other = {"ModelPackageGroupName": group, "ModelPackageDescription": "other", "ClientToken": "a-token"}
    assert refused(call, "CreateModelPackage", **other)[0] == "ConflictException"


def test_approval_keeps_who_when_and_why(call, group):
    arn = call("CreateModelPackage", ModelPackageGroupName=group, CustomerMetadataProperties={"a": "1", "b": "2"})
    arn = arn["ModelPackageArn"]
    call(
        "UpdateModelPackage",
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="good",
        CustomerMetadataProperties={"c": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    package = call("DescribeModelPackage", ModelPackageName=arn)
    assert (package["ModelApprovalStatus"], package["ApprovalDescription"]) == ("Approved", "good")
    assert package["CustomerMetadataProperties"] == {"b": "2", "c": "3"}
    assert package["LastModifiedBy"]["IamIdentity"]["Arn"].endswith("user/bootstrap")
    assert package["LastModifiedTime"] > package["CreationTime"]


def test_description_longer_than_aws_takes_is_refused(call, group):
    arn = call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"]
    code, text = refused(call, "UpdateModelPackage", ModelPackageArn=arn, ApprovalDescription="x" * 1025)
    assert (code, "less than or equal to 1024" in text) == ("ValidationException", True)


def test_list_filters_sorts_and_pages(call, group):
    arns = [call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"] for _ in range(5)]
    for arn in arns[1:4]:
        call("UpdateModelPackage", ModelPackageArn=arn, ModelApprovalStatus="Approved")
    asked = {"ModelPackageGroupName": group, "ModelApprovalStatus": "Approved", "MaxResults": 2}
    first = call("ListModelPackages", **asked)
    second = call("ListModelPackages", **asked, NextToken=first["NextToken"])
    pages = [[s["ModelPackageVersion"] for s in page["ModelPackageSummaryList"]] for page in (first, second)]
    assert pages == [[4, 3], [2]]
    assert "NextToken" not in second
    oldest = call("ListModelPackages", ModelPackageGroupName=group, SortOrder="Ascending")["ModelPackageSummaryList"]
    assert [summary["ModelPackageVersion"] for summary in oldest] == [1, 2, 3, 4, 5]


def test_invalid_page_token_is_refused(call, group):
    code, text = refused(call, "ListModelPackages", ModelPackageGroupName=group, NextToken="elsewhere")
    assert (code, text) == ("ValidationException", "Invalid NextToken provided")


def test_group_with_packages_is_not_deleted(call, group):
    arn = call("CreateModelPackage", ModelPackageGroupName=group)["ModelPackageArn"]
    assert refused(call, "DeleteModelPackageGroup", ModelPackageGroupName=group)[0] == "ConflictException"
    call("DeleteModelPackage", ModelPackageName=arn)
    call("DeleteModelPackageGroup", ModelPackageGroupName=group)
    assert call("ListModelPackageGroups")["ModelPackageGroupSummaryList"] == []


def test_groups_whose_names_begin_alike_do_not_mix(call, group):
    call("CreateModelPackageGroup", ModelPackageGroupName=f"{group}-2")
    call("CreateModelPackage", ModelPackageGroupName=f"{group}-2")
    assert call("ListModelPackages", ModelPackageGroupName=group)["ModelPackageSummaryList"] == []


# --- tags -------------------------------------------------------------------------------------
def test_tags_are_added_replaced_and_removed(call, group, service):
    arn = call("DescribeModelPackageGroup", ModelPackageGroupName=group)["ModelPackageGroupArn"]
    call("AddTags", ResourceArn=arn, Tags=[{"Key": "Project", "Value": "Other"}, {"Key": "Owner", "Value": "us"}])
    assert service.store.tagged() == {arn: {"Project": "Other", "Owner": "us"}}
    call("DeleteTags", ResourceArn=arn, TagKeys=["Project"])
    assert call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "Owner", "Value": "us"}]


def test_tags_go_with_their_resource(call, group, service):
    call("DeleteModelPackageGroup", ModelPackageGroupName=group)
    assert service.store.tagged() == {}


def test_tags_of_nothing_are_refused(call):
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/absent"
    assert refused(call, "AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])[0] == "ValidationException"


# --- what is kept -----------------------------------------------------------------------------
def test_registry_is_there_after_a_restart(call, group, service, tmp_path):
    call("CreateModelPackage", ModelPackageGroupName=group)
    again = Store(tmp_path / "sagemaker.db")
    found = again.below(f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/")
    assert [package["ModelPackageVersion"] for package in found] == [1]
    again.close()


@pytest.mark.parametrize("kind", list(job_state.KINDS.values()), ids=lambda kind: kind.name)
def test_job_that_was_cut_off_is_failed_at_the_next_start(service, platform, kind):
    request = training() if kind is job_state.TRAINING else processing()
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind.resource}/x"
    job = job_state.Job.create(kind, arn, request)
    service.store.put(arn, job.document())
    SageMaker(service.store, platform).jobs.recover()
    found = job_state.Job.of(service.store.get(arn))
    assert (found.status, found.state["FailureReason"]) == ("Failed", sagemaker_jobs.INTERRUPTED)


def test_ended_job_does_not_change_again(service):
    request, arn = training(), f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/x"
    job = job_state.Job.create(job_state.TRAINING, arn, request)
    job.end("Completed", "Completed", "")
    job.step("Stopping", "", "Stopping")
    job.end("Failed", "Failed", "", "late")
    assert (job.status, "FailureReason" in job.state) == ("Completed", False)


# --- refusals of jobs ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"TrainingJobName": "under_score"}, "trainingJobName.*regular expression"),
        ({"TrainingJobName": "x" * 64}, "trainingJobName.*less than or equal to 63"),
        ({"RoleArn": "arn:aws:iam::12:role/no-account"}, "roleArn.*regular expression"),
        ({"OutputDataConfig": {}}, 'Missing required parameter in OutputDataConfig: "S3OutputPath"'),
        ({"HyperParameters": {"trees": 7}}, "Invalid type for parameter HyperParameters"),
        (
            {"ResourceConfig": {"InstanceCount": 1, "InstanceType": "m5.large", "VolumeSizeInGB": 1}},
            "resourceConfig.instanceType.*enum value set",
        ),
        (
            {"ResourceConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
            "does not run this: ResourceConfig.InstanceCount=2",
        ),
        ({"EnableManagedSpotTraining": True}, "does not run this: EnableManagedSpotTraining=True"),
        ({"AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "Pipe"}}, "TrainingInputMode=Pipe"),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": IMAGE,
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "f1", "Regex": "f1=.*"}],
                }
            },
            "no group that holds the value",
        ),
    ],
)
def test_training_request_that_aws_or_this_service_does_not_take_is_refused(call, change, text):
    with pytest.raises(AwsError, match=text) as caught:
        call("CreateTrainingJob", **training(**change))
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize("path", ["/tmp/x", "/opt/ml/model", "/opt/ml/processing/../../etc", "/opt/ml/processing2/x"])
def test_processing_path_outside_its_folder_is_refused(call, path):
    target = {"S3Uri": "s3://bucket/x", "LocalPath": path, "S3UploadMode": "EndOfJob"}
    outputs = {"Outputs": [{"OutputName": "out", "S3Output": target}]}
    with pytest.raises(AwsError, match="must be below /opt/ml/processing"):
        call("CreateProcessingJob", **processing(ProcessingOutputConfig=outputs))


def test_role_that_does_not_trust_sagemaker_is_refused(call):
    code, text = refused(call, "CreateTrainingJob", **training())
    assert (code, text.startswith(f"Could not assume role {ROLE}.")) == ("ValidationException", True)


def test_missing_jobs_are_validation_errors(call):
    for operation, name in (("DescribeTrainingJob", "TrainingJobName"), ("StopProcessingJob", "ProcessingJobName")):
        assert refused(call, operation, **{name: "absent"})[0] == "ValidationException"


def test_operations_that_are_not_kept_are_unknown(call):
    assert refused(call, "CreateEndpoint", EndpointName="x")[0] == "UnknownOperationException"


def test_job_without_its_image_fails_with_the_reason(call, role, service):
    call("CreateTrainingJob", **training())
    service.jobs.pool.shutdown(wait=True)
    job = call("DescribeTrainingJob", TrainingJobName="fit")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("ClientError: no password for the registry of mlops/retail-jobs")
    assert refused(call, "StopTrainingJob", TrainingJobName="fit")[1].endswith("job is in status Failed.")
    assert [each["TrainingJobName"] for each in call("ListTrainingJobs", StatusEquals="Failed")["TrainingJobSummaries"]]
    assert call("ListTrainingJobs", NameContains="other")["TrainingJobSummaries"] == []


def test_requests_of_the_dags_are_taken():
    source = requests.Source(requests.url("gold/_manifest/200810.json"), manifest=True)
    fit = requests.training(IMAGE, {"gold": source}, {"trees": 7, "depth": "auto"})
    validate("CreateTrainingJob", fit | {"TrainingJobName": "fit"})
    clean = requests.processing(["include.etl", "clean"], IMAGE, {"raw": source}, {"silver": "s3://bucket/x"}, "etl")
    validate("CreateProcessingJob", clean | {"ProcessingJobName": "clean"})
    job_checks.check(job_state.TRAINING, fit)
    job_checks.check(job_state.PROCESSING, clean)


# --- parts --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("request_", "arn"),
    [
        ({"TrainingJobName": "fit"}, "training-job/fit"),
        ({"ModelPackageName": f"{GROUP}/3"}, f"model-package/{GROUP}/3"),
        ({"ModelPackageGroupName": GROUP}, f"model-package-group/{GROUP}"),
    ],
)
def test_policies_are_about_the_named_resource(request_, arn):
    assert resource_arn(request_, REGION, ACCOUNT) == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{arn}"


def test_lists_are_about_everything():
    assert resource_arn({"MaxResults": 1}, REGION, ACCOUNT) == "*"


def test_archive_depends_on_content_only(tmp_path):
    results = []
    for name in ("a", "b"):
        folder = tmp_path / name
        (folder / "deep").mkdir(parents=True)
        for file in ("z.txt", "deep/y.txt") if name == "a" else ("deep/y.txt", "z.txt"):
            (folder / file).write_text(file)
        (folder / "z.txt").chmod(0o600 if name == "a" else 0o640)
        job_data.archive(folder, tmp_path / f"{name}.tar.gz")
        results.append((tmp_path / f"{name}.tar.gz").read_bytes())
    assert results[0] == results[1]
