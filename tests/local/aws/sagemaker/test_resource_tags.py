"""Tags of SageMaker's resources."""

from tests.local.aws.sagemaker.conftest import ACCOUNT, REGION, refused


def test_tags_are_added_replaced_and_removed(call, group, sagemaker):
    arn = call("DescribeModelPackageGroup", ModelPackageGroupName=group)["ModelPackageGroupArn"]
    call("AddTags", ResourceArn=arn, Tags=[{"Key": "Project", "Value": "Other"}, {"Key": "Owner", "Value": "us"}])
    assert sagemaker.store.tagged() == {arn: {"Project": "Other", "Owner": "us"}}
    call("DeleteTags", ResourceArn=arn, TagKeys=["Project"])
    assert call("ListTags", ResourceArn=arn)["Tags"] == [{"Key": "Owner", "Value": "us"}]


def test_tags_go_with_their_resource(call, group, sagemaker):
    call("DeleteModelPackageGroup", ModelPackageGroupName=group)
    assert sagemaker.store.tagged() == {}


def test_tags_of_nothing_are_refused(call):
    arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/absent"
    assert refused(call, "AddTags", ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])[0] == "ValidationException"
