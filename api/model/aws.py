"""The two questions to AWS at start: is the package approved (SageMaker), and where are the bundle's bytes (S3)."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from api.errors import Refused, Unavailable
from api.model.state import Package

_CLIENT = ClientConfig(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"})
_FINAL = {
    "ValidationException": "SageMaker knows no such model package",
    "NoSuchKey": "there is no such object",
    "404": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
}
"""AWS's codes for what another try cannot change. All else (denied, throttled, 5xx) may pass: IAM follows late."""


class Aws:
    """Clients with the credentials of the pod's role, made at the first call (boto3's own chain, IRSA included)."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._clients: dict[str, Any] = {}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.Session(region_name=self._region).client(service, config=_CLIENT)
        return self._clients[service]

    def package(self, arn: str) -> Package:
        """The package's approval and facts. Refused if there is none; Unavailable while SageMaker does not answer."""
        try:
            found = self._client("sagemaker").describe_model_package(ModelPackageName=arn)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error, f"describing model package {arn}") from error
        return Package(
            arn=arn,
            status=found["ModelApprovalStatus"],
            approval=found.get("ApprovalDescription", ""),
            created=str(found.get("CreationTime", "")),
            metadata=found.get("CustomerMetadataProperties", {}),
        )

    def fetch(self, url: str, path: Path) -> None:
        """Download s3://bucket/key to `path`. Refused if it is not there; Unavailable while S3 does not answer."""
        where = urlsplit(url)
        try:
            body = self._client("s3").get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"]
            with path.open("wb") as file:
                for chunk in body.iter_chunks(1 << 20):
                    file.write(chunk)
        except (BotoCoreError, ClientError) as error:
            raise _translated(error, f"fetching {url}") from error


def _translated(error: BotoCoreError | ClientError, doing: str) -> Refused | Unavailable:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code in _FINAL:
        return Refused(f"{doing}: {_FINAL[code]} ({code})")
    return Unavailable(f"{doing}: {error}")
