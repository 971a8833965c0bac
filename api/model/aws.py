"""Ask AWS for the approval of a model package (SageMaker) and for the bytes of its bundle (S3)."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from api.errors import Refused, Unavailable
from api.model.state import Package

CHUNK_BYTES = 1 << 20
_CLIENT = ClientConfig(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})
_PERMANENT = {
    "ValidationException": "the model package does not exist",
    "NoSuchKey": "the object does not exist",
    "404": "the object does not exist",
    "NoSuchBucket": "the bucket does not exist",
}
"""AWS error codes that a retry cannot change. All others may pass (denied, throttled, 5xx): IAM is eventually
consistent."""


class Aws:
    """Clients with the credentials of the pod's role, created on first use (boto3's default chain, IRSA included)."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._clients: dict[str, Any] = {}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.Session(region_name=self._region).client(service, config=_CLIENT)
        return self._clients[service]

    def package(self, arn: str) -> Package:
        """Return the approval and the metadata of a model package.

        Raise Refused when the package does not exist, Unavailable while SageMaker does not answer.
        """
        try:
            description = self._client("sagemaker").describe_model_package(ModelPackageName=arn)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error, f"cannot describe model package {arn}") from error
        return Package(
            arn=arn,
            status=description["ModelApprovalStatus"],
            approval=description.get("ApprovalDescription", ""),
            created=str(description.get("CreationTime", "")),
            metadata=description.get("CustomerMetadataProperties", {}),
        )

    def fetch(self, url: str, path: Path) -> None:
        """Download s3://bucket/key to `path`.

        Raise Refused when the object does not exist, Unavailable while S3 does not answer.
        """
        location = urlsplit(url)
        try:
            body = self._client("s3").get_object(Bucket=location.netloc, Key=location.path.lstrip("/"))["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    file.write(chunk)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error, f"cannot download {url}") from error


def _translated(error: BotoCoreError | ClientError, failure: str) -> Refused | Unavailable:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code in _PERMANENT:
        return Refused(f"{failure}: {_PERMANENT[code]} ({code}). Run DAG deploy again with an existing model package")
    return Unavailable(f"{failure}: {error}")
