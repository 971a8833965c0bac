"""What AWS's own model of an operation refuses: sizes, ranges, patterns, enumerations, at any depth."""

import pytest

from local.aws.sagemaker.protocol import AwsError
from local.aws.sagemaker.validation import validate
from tests.local.aws.sagemaker.conftest import training


def test_a_valid_request_is_accepted():
    validate("CreateTrainingJob", training())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"Tags": [{"Key": "k" * 129, "Value": "x"}]},
            "'tags.1.member.key' failed .* length less than or equal to 128",
        ),
        ({"HyperParameters": {"k" * 257: "x"}}, "'hyperParameters.key' failed .* length less than or equal to 256"),
        ({"Tags": [{"Key": "k", "Value": "v"}] * 51}, "'tags' failed .* length less than or equal to 50"),
        ({"RoleArn": "r" * 20}, "'roleArn' failed .* regular expression pattern"),
    ],
)
def test_a_limit_is_named_with_its_path(change, text):
    with pytest.raises(AwsError, match=text) as caught:
        validate("CreateTrainingJob", training(**change))
    assert caught.value.code == "ValidationException"


def test_all_violations_are_counted():
    request = training(TrainingJobName="under_score", Tags=[{"Key": "k", "Value": "v"}] * 51)
    with pytest.raises(AwsError, match=r"^2 validation errors detected: "):
        validate("CreateTrainingJob", request)


def test_an_operation_that_aws_does_not_have_is_unknown():
    with pytest.raises(AwsError) as caught:
        validate("CreateNothing", {})
    assert caught.value.code == "UnknownOperationException"
