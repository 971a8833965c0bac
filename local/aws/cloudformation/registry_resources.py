"""Resource types of the registry stack: model package groups, and repositories that are kept while they hold images."""

from collections.abc import Callable
from typing import Final

from botocore.exceptions import ClientError

from local.aws import root
from local.aws.cloudformation.handlers import Created, Properties, new_type, wrap_handler


class ModelPackageGroup:
    """AWS::SageMaker::ModelPackageGroup. Another description replaces it on AWS; with a fixed name that fails."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the group."""
        arn = root.client("sagemaker").create_model_package_group(
            ModelPackageGroupName=properties["ModelPackageGroupName"],
            ModelPackageGroupDescription=properties.get("ModelPackageGroupDescription", ""),
            Tags=properties.get("Tags", []),
        )["ModelPackageGroupArn"]
        return arn, {"ModelPackageGroupArn": arn}

    @staticmethod
    def delete(arn: str, _properties: Properties) -> None:
        """Delete the group; one that does not exist any more is no error."""
        name = arn.rpartition("/")[2]
        try:
            root.client("sagemaker").delete_model_package_group(ModelPackageGroupName=name)
        except ClientError as error:
            if "does not exist" not in str(error):
                raise


def _delete_empty_repository(delete: Callable[[str, Properties], None], name: str, properties: Properties) -> None:
    if not properties.get("EmptyOnDelete") and _has_images(name):
        raise ValueError(f"{name} is not empty: empty it, then delete the stack again")
    delete(name, properties)


def _has_images(repository: str) -> bool:
    try:
        return bool(root.client("ecr").list_images(repositoryName=repository)["imageIds"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            return False
        raise


PATCHES: Final = (
    *new_type("AWS::SageMaker::ModelPackageGroup", ModelPackageGroup, "ministack has no SageMaker"),
    wrap_handler(
        "AWS::ECR::Repository",
        "delete",
        _delete_empty_repository,
        "images are deleted with their repository; AWS refuses",
    ),
)
