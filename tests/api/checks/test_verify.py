"""The program of the verification Job, against a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.checks import verify
from include.baskets.bundle import Bundle
from include.baskets.schema import Basket
from tests.api.conftest import Release, serving
from tests.api.stub_aws import BUCKET, StubAws
from tests.api.tiny import basket


def held_out(loaded: Bundle, count: int = 30) -> list[dict[str, Any]]:
    samples = []
    for seed in range(count):
        request = basket(seed, known=seed % 10 != 0)
        scored = loaded.predict_one(msgspec.convert(request, Basket))
        expected = {"prediction": scored.prediction, "probability": scored.probability}
        samples.append({"request": request, "label": scored.prediction, "expected": expected})
    return samples


@pytest.fixture(scope="module")
def url(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that all tests of this file ask."""
    with serving(release, tmp_path_factory.mktemp("verify") / "api.log") as process:
        yield f"http://127.0.0.1:{process.port}"


def run(capsys: pytest.CaptureFixture[str], **environment: str) -> tuple[int, dict[str, Any]]:
    code = verify.main(environment)
    return code, json.loads(capsys.readouterr().out)


def write(path: Path, samples: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return str(path)


def test_right_answers_pass_and_wrong_answers_fail(
    url: str, loaded: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = held_out(loaded)
    good = write(tmp_path / "good.jsonl", samples)

    code, report = run(capsys, VERIFY_URL=url, VERIFY_BASKETS=good, VERIFY_MODEL_VERSION="3")
    assert (code, report["result"], report["checked"], report["accuracy"]) == (0, "passed", 60, 1.0)

    code, report = run(capsys, VERIFY_URL=url, VERIFY_BASKETS=good, VERIFY_MODEL_VERSION="4")
    assert (code, report["wrong"]) == (1, 30)
    assert "version 3 instead of 4" in report["examples"][0]

    samples[4]["expected"]["probability"]["Low"] += 0.00001
    code, report = run(capsys, VERIFY_URL=url, VERIFY_BASKETS=write(tmp_path / "bad.jsonl", samples))
    assert (code, report["wrong"]) == (1, 2), "alone and in the batch"
    assert "basket 5: probability of Low" in report["examples"][0]


def test_baskets_come_from_s3(
    url: str, loaded: Bundle, aws_environment: StubAws, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "artifacts/evaluation/job/held_out.jsonl"
    lines = "".join(json.dumps(sample) + "\n" for sample in held_out(loaded, 5))
    aws_environment.objects[f"/{BUCKET}/{key}"] = lines.encode()

    code, report = run(capsys, VERIFY_URL=url, VERIFY_BASKETS=f"s3://{BUCKET}/{key}")
    assert (code, report["checked"]) == (0, 10)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "holds no basket"),
        ('{"request": {}}\n', ":1 is not a held-out basket"),
        ("{\n", ":1 is not a held-out basket"),
    ],
)
def test_invalid_baskets_are_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    path = tmp_path / "held_out.jsonl"
    path.write_text(content)

    code, report = run(capsys, VERIFY_URL="http://127.0.0.1:9", VERIFY_BASKETS=str(path))
    assert code == 2
    assert reason in report["reason"]


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "VERIFY_URL and VERIFY_BASKETS must be set"),
        ({"VERIFY_URL": "ftp://x", "VERIFY_BASKETS": "x"}, "is not http://host:port"),
        ({"VERIFY_URL": "http://127.0.0.1:9", "VERIFY_BASKETS": "x", "VERIFY_LIMIT": "0"}, "VERIFY_LIMIT"),
        ({"VERIFY_URL": "http://127.0.0.1:9", "VERIFY_BASKETS": "/nowhere"}, "cannot be read"),
    ],
)
def test_invalid_settings_are_named(
    capsys: pytest.CaptureFixture[str], environment: dict[str, str], reason: str
) -> None:
    code, report = run(capsys, **environment)

    assert code == 2
    assert reason in report["reason"]


def test_api_that_never_becomes_ready_is_inconclusive(
    tmp_path: Path, loaded: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "held_out.jsonl", held_out(loaded, 1))

    assert verify.main({"VERIFY_URL": "http://127.0.0.1:9", "VERIFY_BASKETS": path}, timeout=0) == 2
    assert "not ready within" in json.loads(capsys.readouterr().out)["reason"]
