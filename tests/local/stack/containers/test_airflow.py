"""Airflow's variables in containers: of the local stack, or of an account."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import settings
from local.aws import home
from local.stack import config
from local.stack.containers import airflow

KEYS = {"AccessKeyId": "AKIAEMBEDDED", "SecretAccessKey": "secret"}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[config.LocalStack]:
    """A local stack whose AWS emulation has been started once, and whose database has a password."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "RETAIL_", "MLOPS_"))]:
        monkeypatch.delenv(name)  # a container has only what the compose file gives it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = config.load(tmp_path / "state")
    home.folder(found).mkdir()
    (home.folder(found) / "bootstrap.json").write_text(json.dumps(KEYS))
    (tmp_path / "database").write_text("word")
    monkeypatch.setattr(airflow, "DATABASE_PASSWORD", tmp_path / "database")
    settings.cache_clear()
    yield found
    settings.cache_clear()


def test_the_embedded_stack_is_the_default(stack: config.LocalStack) -> None:
    env = airflow.environment_of(stack, "scheduler")

    assert env["AWS_ENDPOINT_URL"] == stack.aws_url
    assert json.loads(env["AIRFLOW_CONN_AWS_ADMIN"])["login"] == "AKIAEMBEDDED"
    assert env["RETAIL_OVERLAY"] == "embedded"
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql+psycopg2://airflow:word@postgres:5432/airflow"


def test_an_account_has_no_key_and_nothing_embedded(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MLOPS_TARGET": "aws", "AWS_PROFILE": "me", "RETAIL_ACCOUNT_ID": "111122223333"}.items():
        monkeypatch.setenv(name, value)
    env = airflow.environment_of(stack, "scheduler")

    assert {name for name in env if name.startswith("RETAIL_")} == {"RETAIL_ACCOUNT_ID"}
    assert {name for name in env if name.startswith("AWS_")} == {"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"}
    for connection in ("AIRFLOW_CONN_AWS_ADMIN", "AIRFLOW_CONN_AWS_DEFAULT"):
        assert not {"login", "password"} & set(json.loads(env[connection]))
    assert "arn:aws:iam::111122223333:role/" in env["AIRFLOW_CONN_AWS_DEFAULT"]


def test_all_processes_share_one_jwt_secret_that_is_random(stack: config.LocalStack) -> None:
    secrets = {
        airflow.environment_of(stack, name)["AIRFLOW__API_AUTH__JWT_SECRET"] for name in ("scheduler", "migrate")
    }

    assert len(secrets) == 1
    assert len(secrets.pop()) > 60


def test_another_stack_is_refused(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_TARGET", "azure")

    with pytest.raises(config.ConfigError, match="MLOPS_TARGET=azure"):
        airflow.environment_of(stack, "scheduler")
