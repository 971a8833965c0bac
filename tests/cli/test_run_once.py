"""An Airflow for one run: started before it, stopped after it, whatever happens."""

import os

import pytest

from cli import run_once
from cli.follow import RunError
from local.stack import config


def test_the_airflow_of_one_run_goes_whatever_happens(tmp_path, monkeypatch):
    stack = config.LocalStack(tmp_path, airflow=8080, aws=2, endpoint=3, kube=4, block=0)
    monkeypatch.setenv(config.ONLY_DAG, "")
    monkeypatch.setattr(run_once.signal, "signal", lambda *_: None)
    happened: list[str] = []

    def fails(stack):
        happened.append(f"up with {os.environ[config.ONLY_DAG]}")
        raise RunError("the port is taken")

    with pytest.raises(RunError, match="the port is taken"):
        run_once.run_once(stack, "deploy", "", fails, lambda stack: happened.append("down"))
    assert happened == ["up with deploy", "down"]


def test_an_airflow_that_is_up_is_left_alone(tmp_path, monkeypatch):
    stack = config.LocalStack(tmp_path, airflow=8080, aws=2, endpoint=3, kube=4, block=0)
    monkeypatch.setattr(run_once.supervisor, "running", lambda state: 4711)
    with pytest.raises(RunError, match="make run"):
        run_once.run_once(stack, "deploy", "", lambda stack: pytest.fail("up"), lambda stack: pytest.fail("down"))
