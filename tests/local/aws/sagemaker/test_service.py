"""SageMaker's operations, and the resources that policies check."""

import pytest

from local.aws.sagemaker.service import resource_arn
from tests.local.aws.sagemaker.conftest import ACCOUNT, GROUP, REGION, refused


def test_operations_that_are_not_kept_are_unknown(call):
    assert refused(call, "CreateEndpoint", EndpointName="x")[0] == "UnknownOperationException"


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
