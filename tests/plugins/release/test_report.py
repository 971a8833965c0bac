"""The record of a release as people read it."""

from retail_mlops.common.releases import FAILED, Release, release_record
from retail_mlops.release.report import report
from tests.plugins.text import squeezed

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


def test_record_is_shown_with_what_its_checks_found():
    side = {"requests": 300, "error_rate": 0.0, "p95_ms": 2.5, "moved": False}
    checks = {
        "verify_canary": {"result": "passed", "checked": 1000, "wrong": 0, "p95_ms": 3.1},
        "bake": {"result": "failed", "reason": "it is slow", "canary": side | {"p95_ms": 90.0}, "stable": side},
    }
    text = report(release_record(RELEASE, FAILED, "2026-01-01", "deploy/r", "bake failed", checks))
    text = squeezed(text)
    assert "| outcome | failed (bake failed) |" in text
    assert "| verify_canary | passed | 1000 answers, 0 wrong, p95 3.1 ms | | |" in text
    slow = "300 requests, 0.00% failed, p95 90.0 ms | 300 requests, 0.00% failed, p95 2.5 ms"
    assert f"| bake | failed | {slow} | it is slow |" in text
