"""The registry of model packages: find the newest, register one once, approve or reject it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from include.settings import MODEL_PACKAGE_GROUP, settings
from retail_mlops.common.errors import RetailError

APPROVED: Final = "Approved"
REJECTED: Final = "Rejected"
PENDING: Final = "PendingManualApproval"
MAX_DESCRIPTION: Final = 1024


@dataclass(frozen=True)
class ModelPackage:
    """A model package; `metadata`: its CustomerMetadataProperties."""

    arn: str
    version: int
    status: str
    model_url: str
    image: str
    metadata: dict[str, str]
    description: str

    @classmethod
    def from_description(cls, described: dict[str, Any]) -> ModelPackage:
        """Make it from the answer of DescribeModelPackage."""
        container = described["InferenceSpecification"]["Containers"][0]
        return cls(
            arn=described["ModelPackageArn"],
            version=described["ModelPackageVersion"],
            status=described["ModelApprovalStatus"],
            model_url=container["ModelDataUrl"],
            image=container["Image"],
            metadata=described.get("CustomerMetadataProperties", {}),
            description=described.get("ApprovalDescription", ""),
        )


def registration(model_url: str, image: str, metadata: dict[str, str], evidence_url: str, token: str) -> dict[str, Any]:
    """Return the request of CreateModelPackage, pending a decision; token: the same for the same registration."""
    return {
        "ModelPackageGroupName": MODEL_PACKAGE_GROUP,
        "ModelPackageDescription": "Price sensitivity of a basket: Low, Medium, High",
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": model_url}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelApprovalStatus": PENDING,
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": evidence_url}}},
        "CustomerMetadataProperties": metadata,
        "ClientToken": token,
    }


class RegistryHook(SageMakerHook):
    """Model packages of the project's group."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)

    def newest(self, status: str | None = None) -> ModelPackage | None:
        """Return the newest package, of one approval status if given; None if there is none."""
        filters = {"ModelApprovalStatus": status} if status else {}
        pages = self.conn.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=MODEL_PACKAGE_GROUP, SortBy="CreationTime", SortOrder="Descending", **filters
        )
        summaries = [summary for page in pages for summary in page["ModelPackageSummaryList"]]
        if not summaries:
            return None
        return self.package(max(summaries, key=lambda summary: summary["ModelPackageVersion"])["ModelPackageArn"])

    def package(self, arn: str) -> ModelPackage:
        return ModelPackage.from_description(self.conn.describe_model_package(ModelPackageName=arn))

    def register(self, request: dict[str, Any]) -> ModelPackage:
        """Register a package; return the one that an earlier try registered from the same training job, if any."""
        job = request["CustomerMetadataProperties"]["training_job"]
        newest = self.newest()
        if newest and newest.metadata.get("training_job") == job:
            return newest
        return self.package(self.conn.create_model_package(**request)["ModelPackageArn"])

    def decide(self, arn: str, status: str, description: str) -> None:
        """Approve or reject; description: who, when, why, on which evidence (cut to AWS's 1,024 characters)."""
        if status not in (APPROVED, REJECTED):
            raise RetailError(f"a decision is {APPROVED} or {REJECTED}, not {status}")
        self.conn.update_model_package(
            ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=description[:MAX_DESCRIPTION]
        )
