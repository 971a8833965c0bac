"""Images by digest, and the scan gate with its refusals. AWS answers by Stubber."""

import datetime as dt
from contextlib import nullcontext

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from include.settings import Settings
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks import ecr
from retail_mlops.hooks.ecr import ImageHook, split_reference

REGISTRY = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com"
DIGEST = "sha256:" + "a" * 64
REFERENCE = f"{REGISTRY}/mlops/retail-api@{DIGEST}"


@pytest.fixture
def stub(monkeypatch):
    client = boto3.client("ecr", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")
    monkeypatch.setattr(ImageHook, "conn", client)
    with Stubber(client) as made:
        yield made
        made.assert_no_pending_responses()


def scan(stub, status="COMPLETE", **counts):
    answer = {"imageScanStatus": {"status": status}, "imageScanFindings": {"findingSeverityCounts": counts}}
    expected = {"repositoryName": "mlops/retail-api", "imageId": {"imageDigest": DIGEST}}
    stub.add_response("describe_image_scan_findings", answer, expected)


def test_newest_image_is_the_one_pushed_last(stub):
    def image(letter, day):
        return {"imageDigest": "sha256:" + letter * 64, "imagePushedAt": dt.datetime(2026, 1, day, tzinfo=dt.UTC)}

    stub.add_response("describe_images", {"imageDetails": [image("b", 2), image("a", 3), image("c", 1)]})
    assert ImageHook().newest("mlops/retail-api") == REFERENCE


@pytest.mark.parametrize(
    "attached",
    [
        {"imageTags": ["sha256-" + "a" * 64 + ".sig"]},
        {"imageTags": ["sha256-" + "a" * 64]},
        {"artifactMediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"},
    ],
)
def test_signature_that_was_pushed_after_its_image_is_no_image(stub, attached):
    pushed = {"imagePushedAt": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)}
    later = {"imagePushedAt": dt.datetime(2026, 1, 3, tzinfo=dt.UTC)}
    image = {
        "imageDigest": DIGEST,
        "imageTags": ["v1"],
        "artifactMediaType": "application/vnd.oci.image.config.v1+json",
    }
    details = [image | pushed, {"imageDigest": "sha256:" + "f" * 64} | attached | later]
    stub.add_response("describe_images", {"imageDetails": details})
    assert ImageHook().newest("mlops/retail-api") == REFERENCE


def test_empty_repository_says_how_to_push(stub):
    stub.add_response("describe_images", {"imageDetails": []})
    with pytest.raises(RetailError, match="make image"):
        ImageHook().newest("mlops/retail-api")


def test_image_of_a_tag_is_named_by_its_digest(stub):
    asked = {"repositoryName": "mlops/retail-api", "imageIds": [{"imageTag": "v1"}]}
    stub.add_response("describe_images", {"imageDetails": [{"imageDigest": DIGEST}]}, asked)
    assert ImageHook().tagged("mlops/retail-api", "v1") == REFERENCE


def test_tag_that_is_not_there_has_no_image(stub):
    stub.add_client_error("describe_images", "ImageNotFoundException")
    assert ImageHook().tagged("mlops/retail-api", "v1") is None


def test_repository_that_is_not_there_is_an_error(stub):
    stub.add_client_error("describe_images", "RepositoryNotFoundException")
    with pytest.raises(ClientError, match="RepositoryNotFound"):
        ImageHook().tagged("mlops/retail-api", "v1")


def test_clean_scan_passes(stub):
    scan(stub, MEDIUM=4)
    ImageHook().require_scanned(REFERENCE)


@pytest.mark.parametrize("severity", ["CRITICAL", "HIGH"])
def test_serious_finding_is_refused(stub, severity):
    scan(stub, **{severity: 1})
    with pytest.raises(RetailError, match=severity):
        ImageHook().require_scanned(REFERENCE)


BASIC = {"findings": [{"name": "CVE-2026-1", "severity": "HIGH"}]}
ENHANCED = {
    "enhancedFindings": [{"packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-1"}, "severity": "HIGH"}]
}


@pytest.mark.parametrize("findings", [BASIC, ENHANCED], ids=["basic", "enhanced"])
@pytest.mark.parametrize(("high", "passes"), [(1, True), (2, False)])
def test_accepted_finding_passes_and_another_beside_it_does_not(stub, monkeypatch, findings, high, passes):
    monkeypatch.setattr(ecr, "accepted", lambda day: {"CVE-2026-1"})
    pages = [{"findingSeverityCounts": {"HIGH": high}}, {"findingSeverityCounts": {"HIGH": high}} | findings]
    for page, token in zip(pages, ("more", None), strict=True):
        answer = {"imageScanStatus": {"status": "COMPLETE"}, "imageScanFindings": page}
        stub.add_response("describe_image_scan_findings", answer | ({"nextToken": token} if token else {}))
    with nullcontext() if passes else pytest.raises(RetailError, match="'HIGH': 1"):
        ImageHook().require_scanned(REFERENCE)


@pytest.mark.parametrize("status", ["IN_PROGRESS", "FAILED", "UNSUPPORTED_IMAGE"])
def test_unfinished_scan_is_refused(stub, status):
    scan(stub, status)
    with pytest.raises(RetailError, match=status):
        ImageHook().require_scanned(REFERENCE)


def test_missing_scan_is_refused(stub):
    stub.add_client_error("describe_image_scan_findings", "ScanNotFoundException")
    with pytest.raises(RetailError, match="never scanned"):
        ImageHook().require_scanned(REFERENCE)


def test_setting_turns_the_scan_gate_off(stub, monkeypatch):
    monkeypatch.setattr(ecr, "settings", lambda: Settings(require_image_scan=False))
    ImageHook().require_scanned(REFERENCE)


@pytest.mark.parametrize(
    "reference",
    [f"{REGISTRY}/mlops/retail-api:latest", f"docker.io/library/nginx@{DIGEST}", "nginx", f"{REGISTRY}/a@md5:1"],
)
def test_image_not_ours_by_digest_is_refused(reference):
    with pytest.raises(RetailError, match="by digest"):
        split_reference(reference)


def test_reference_is_split():
    assert split_reference(REFERENCE) == ("mlops/retail-api", DIGEST)
