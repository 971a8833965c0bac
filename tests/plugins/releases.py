"""A release, for the tests of what is made of it."""

from retail_mlops.common.releases import Release

BUCKET = "mlops-retail-prediction-dev-123456789012"
IMAGE = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/mlops/retail-api@sha256:" + "a" * 64
RELEASE = Release(
    id="v3-0123456789",
    model_package_arn="arn:aws:sagemaker:ap-southeast-1:123456789012:model-package/g/3",
    version=3,
    bundle_digest="b" * 64,
    image=IMAGE,
    source_url="s3://bucket/artifacts/training/j/output/model.tar.gz",
    evidence_url="s3://bucket/artifacts/evaluation/e/evaluation.json",
    previous="v2-0123456789",
)
