"""Where weekly files land: in the AWS emulation, or in the account that `MLOPS_TARGET=aws` means."""

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import ingest
from cli.ingest import WeeklyFile
from include.settings import REGION
from local.aws import home
from local.stack import config

Calls = list[tuple[Any, list[WeeklyFile]]]


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> config.LocalStack:
    """A local stack whose AWS emulation was started once."""
    stack = config.LocalStack(tmp_path, airflow=8080, aws=4566, endpoint=3, kube=4, block=0)
    home.folder(stack).mkdir()
    (home.folder(stack) / "bootstrap.json").write_text('{"AccessKeyId": "AKIA", "SecretAccessKey": "secret"}')
    monkeypatch.setattr(ingest, "open_stack", lambda: stack)
    return stack


@pytest.fixture
def landed(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """Calls of `land`, which finds that 200607 is new; no Airflow and no S3 is asked."""
    calls: Calls = []
    monkeypatch.setattr(ingest, "Airflow", lambda _stack: SimpleNamespace(trigger=lambda *_, **__: "run"))
    monkeypatch.setattr(ingest, "land", lambda *call: calls.append(call) or ["200607"])
    monkeypatch.setattr(ingest, "has_gold", lambda _s3, week: week == "200609")
    for week in ("200607", "200609"):
        (tmp_path / f"transactions_{week}.csv").write_text("")
    return calls


def ingest_weeks(folder: Path, *weeks: str) -> None:
    ingest.main(Namespace(files=[str(folder / f"transactions_{week}.csv") for week in weeks]))


def test_files_land_in_the_aws_emulation(landed: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ingest_weeks(tmp_path, "200607")
    ((s3, (file,)),) = landed
    assert (s3.meta.endpoint_url, file.week) == ("http://127.0.0.1:4566", "200607")
    assert "200607: landed as raw/shop_week=200607/" in capsys.readouterr().out


def test_files_land_in_the_account(landed: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.TARGET, "aws")
    monkeypatch.setenv("RETAIL_ACCOUNT_ID", "210987654321")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    ingest_weeks(tmp_path, "200607")
    ((s3, _),) = landed
    assert (s3.meta.region_name, s3.meta.endpoint_url) == (REGION, f"https://s3.{REGION}.amazonaws.com")


def test_week_that_landed_before_gets_its_run_unless_it_has_gold(
    landed: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ingest, "land", lambda *_: [])
    ingest_weeks(tmp_path, "200607", "200609")
    without_run, with_gold = capsys.readouterr().out.splitlines()
    assert "200607: that very file is there already, etl started" in without_run
    assert with_gold == "200609: that very file is there already, and so is its gold"


def test_no_file_is_an_error(landed: Calls) -> None:
    with pytest.raises(ingest.IngestError, match="no files given"):
        ingest.main(Namespace(files=[]))
    assert landed == []
