"""Where weekly files land: in the embedded AWS, or in the account that `MLOPS_TARGET=aws` means."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import ingest
from include.settings import REGION
from local.stack import config


@pytest.fixture
def landed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple]:
    """Calls of `land`; no Airflow is asked."""
    calls: list[tuple] = []
    stack = SimpleNamespace(aws_url="http://127.0.0.1:4566", airflow_url="http://127.0.0.1:8080")
    monkeypatch.setattr(ingest.config, "load", lambda: stack)
    gold = {"Contents": [{"Key": "gold"}]}
    s3 = SimpleNamespace(list_objects_v2=lambda **asked: gold if "200609" in asked["Prefix"] else {})
    monkeypatch.setattr(ingest, "session", lambda _stack: SimpleNamespace(client=lambda *_, **__: s3))
    monkeypatch.setattr(ingest, "Airflow", lambda _stack: SimpleNamespace(trigger=lambda *_, **__: "run"))
    monkeypatch.setattr(ingest, "land", lambda *call: calls.append(call) or ["200607"])
    for week in ("200607", "200609"):
        (tmp_path / f"transactions_{week}.csv").write_text("")
    return calls


def test_files_land_in_the_embedded_aws(
    landed: list[tuple], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest.main([str(tmp_path / "transactions_200607.csv")])
    ((aws, endpoint, (file,)),) = landed
    assert (aws.client("s3") is not None, endpoint, file.week) == (True, "http://127.0.0.1:4566", "200607")
    assert "200607: landed as raw/shop_week=200607/" in capsys.readouterr().out


def test_files_land_in_the_account(landed: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.TARGET, "aws")
    monkeypatch.setenv("RETAIL_ACCOUNT_ID", "210987654321")
    ingest.main([str(tmp_path / "transactions_200607.csv")])
    ((aws, endpoint, _),) = landed
    assert (aws.region_name, endpoint) == (REGION, None)


def test_week_that_landed_before_gets_its_run_unless_it_has_gold(
    landed: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ingest, "land", lambda *_: [])
    ingest.main([str(tmp_path / f"transactions_{week}.csv") for week in ("200607", "200609")])
    lost, done = capsys.readouterr().out.splitlines()
    assert "200607: that very file is there already, etl started" in lost
    assert done == "200609: that very file is there already, and so is its gold"


def test_no_file_is_a_question_and_no_success(landed: list[tuple]) -> None:
    with pytest.raises(ingest.IngestError, match="which files"):
        ingest.main([])
    assert landed == []
