"""Model package groups and packages: versions, approval, lists, and what is stored."""

from local.aws.sagemaker.store import Store
from tests.local.aws.sagemaker.conftest import ACCOUNT, REGION, refused


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


def test_registry_is_there_after_a_restart(call, group, sagemaker, tmp_path):
    call("CreateModelPackage", ModelPackageGroupName=group)
    again = Store(tmp_path / "sagemaker.db")
    packages = again.below(f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/")
    assert [package["ModelPackageVersion"] for package in packages] == [1]
    again.close()
