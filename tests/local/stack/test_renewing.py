"""Sessions read botocore's files once, and without the texts that nobody reads here."""

import botocore.session
import pytest
from botocore.loaders import Loader

from local.stack import renewing

HOLDER = {"AccessKeyId": "A", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}


def without_texts(value: object) -> object:
    """A document whose members called documentation are empty where they are texts."""
    if isinstance(value, list):
        return [without_texts(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: "" if name == "documentation" and isinstance(member, str) else without_texts(member)
        for name, member in value.items()
    }


@pytest.mark.parametrize("service", ["ec2", "sagemaker", "s3", "apigateway"])
@pytest.mark.parametrize("kind", ["service-2", "paginators-1"])
def test_models_are_those_of_botocore_without_texts(service: str, kind: str) -> None:
    """API Gateway has members that are themselves called documentation."""
    loaded = renewing.core().get_component("data_loader").load_service_model(service, kind)
    assert loaded == without_texts(Loader().load_service_model(service, kind))


def test_sessions_share_what_they_read() -> None:
    first, second = (renewing.session(lambda: HOLDER, "ap-southeast-1", "test") for _ in range(2))
    models = [one.client("sts").meta.service_model.operation_model("AssumeRole") for one in (first, second)]
    assert models[0]._operation_model is models[1]._operation_model
    assert first.get_credentials().access_key == "A"
    assert first.resource("s3").Bucket("b").name == "b"


@pytest.mark.parametrize("service", ["s3", "sts", "ec2", "ecr", "logs", "sagemaker", "s3control"])
def test_clients_can_be_made(service: str) -> None:
    """S3 describes parameters of its clients by their texts: the members must be there."""
    client = renewing.session(lambda: HOLDER, "ap-southeast-1", "test").client(service)
    assert client.meta.service_model.operation_names


def test_unknown_service_is_unknown() -> None:
    with pytest.raises(botocore.session.UnknownServiceError):
        renewing.core().get_service_model("nothing")
