"""The checks of the smoke Job, with botocore's Stubber for S3. Integration tests check real permissions."""

import io
import json
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from api.checks import smoke

SETTINGS = {
    "SMOKE_READ": "s3://lake/artifacts/releases/.smoke",
    "SMOKE_CONTENT": "7",
    "SMOKE_DENIED": "s3://lake/tmp/.smoke s3://other/x",
}


@pytest.fixture
def s3() -> Any:
    return boto3.client("s3", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")


def answers(s3: Any, read: str | None = "7", write: str | None = "AccessDenied", others: str = "AccessDenied") -> None:
    """Set what S3 answers to the four calls: content to read, an error code, or None for a success of `write`."""
    stub = Stubber(s3)
    if read is None:
        stub.add_client_error("get_object", "AccessDenied")
    else:
        stub.add_response("get_object", {"Body": StreamingBody(io.BytesIO(read.encode()), len(read))})
    if write is None:
        stub.add_response("put_object", {})
    else:
        stub.add_client_error("put_object", write)
    for _ in range(2):
        stub.add_client_error("get_object", others)
    stub.activate()


def run(capsys: pytest.CaptureFixture[str], s3: Any, settings: dict[str, str] = SETTINGS) -> tuple[int, dict[str, Any]]:
    code = smoke.main(settings, s3, timeout=0)
    return code, json.loads(capsys.readouterr().out)


def test_role_with_the_right_permissions_passes(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers(s3)
    code, report = run(capsys, s3)
    assert (code, report["result"], report["wrong"]) == (0, "passed", [])
    assert len(report["checked"]) == 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"read": None}, "cannot be read"),
        ({"read": "6"}, "holds '6' instead of '7'"),
        ({"write": None}, "allowed, and must not be"),
        ({"others": "NoSuchBucket"}, "NoSuchBucket instead of AccessDenied"),
    ],
)
def test_wrong_permission_fails_with_the_reason(
    s3: Any, capsys: pytest.CaptureFixture[str], answer: dict[str, Any], reason: str
) -> None:
    answers(s3, **answer)
    code, report = run(capsys, s3)
    assert (code, report["result"]) == (1, "failed")
    assert any(reason in wrong for wrong in report["wrong"])


@pytest.mark.parametrize("missing", SETTINGS)
def test_missing_setting_is_inconclusive(s3: Any, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    code, report = run(capsys, s3, {name: value for name, value in SETTINGS.items() if name != missing})
    assert (code, report["reason"]) == (2, f"{missing} must be set")
