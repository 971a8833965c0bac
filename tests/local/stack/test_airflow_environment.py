"""The environment of Airflow's processes."""

import json
import os
import stat
from pathlib import Path

import pytest

from local.stack import airflow_environment as environment
from local.stack import config

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.LocalStack:
    monkeypatch.setattr(config, "read_env", lambda path: {})
    for name in [name for name in os.environ if name.startswith(("RETAIL_", "AIRFLOW", "AWS_"))]:
        monkeypatch.delenv(name)
    return config.LocalStack(tmp_path, airflow=18080, aws=14566, endpoint=18088, kube=31443, block=0)


def test_secrets_are_made_once_and_only_their_owner_reads_them(stack):
    first = environment.load_secrets(stack)
    assert environment.load_secrets(stack) == first
    assert stat.S_IMODE((stack.state / "airflow/secrets.json").stat().st_mode) == 0o600


def test_two_stacks_do_not_share_secrets(stack, tmp_path):
    other = config.LocalStack(tmp_path / "other", airflow=1, aws=2, endpoint=3, kube=4, block=1)
    assert environment.load_secrets(stack) != environment.load_secrets(other)


def test_password_of_env_wins_and_reaches_the_login(stack, monkeypatch):
    monkeypatch.setenv("AIRFLOW_PASSWORD", "chosen by a person")
    environment.airflow(stack)
    passwords = stack.state / "airflow/passwords.json"
    assert json.loads(passwords.read_text()) == {"admin": "chosen by a person"}
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600


def test_settings_of_env_win_over_the_embedded_ones(stack, monkeypatch):
    monkeypatch.setenv("RETAIL_POLL_SECONDS", "7")
    found = environment.retail(stack)
    assert (found["RETAIL_POLL_SECONDS"], found["RETAIL_OVERLAY"]) == ("7", "embedded")
    assert found["RETAIL_ENDPOINT_PORT"] == "18088"


def test_nothing_of_the_callers_aws_python_or_airflow_leaks_in(stack, monkeypatch):
    foreign = {"AWS_PROFILE": "work", "AIRFLOW__CORE__EXECUTOR": "Other", "PYTHONHOME": "/nowhere", "VIRTUAL_ENV": "/x"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    found = environment.with_aws(stack, KEYS)
    assert found["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not {"AWS_PROFILE", "PYTHONHOME", "VIRTUAL_ENV", "AWS_SECRET_ACCESS_KEY"} & found.keys()


def test_every_process_carries_the_mark_of_its_stack(stack):
    assert environment.base(stack)[config.MARK] == str(stack.state)


def test_loopback_is_never_asked_of_a_proxy(stack, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "intranet")
    monkeypatch.delenv("no_proxy", raising=False)
    assert environment.base(stack)["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_python_of_airflow_comes_first_on_the_path(stack):
    first = Path(environment.airflow(stack)["PATH"].split(os.pathsep)[0])
    assert (first / "airflow").is_file()
    assert first == config.ROOT / ".venv/airflow/bin"


def test_airflow_listens_on_loopback_and_tells_its_tasks_the_port(stack):
    found = environment.airflow(stack)
    assert found["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert found["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:18080"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"


def test_admin_is_the_bootstrap_user_and_default_assumes_the_role_of_airflow(stack):
    found = environment.with_aws(stack, KEYS)
    admin, default = (json.loads(found[f"AIRFLOW_CONN_AWS_{name}"]) for name in ("ADMIN", "DEFAULT"))
    assert (admin["login"], default["login"]) == ("AKIA", "AKIA")
    assert "role_arn" not in admin["extra"]
    assert default["extra"]["role_arn"] == "arn:aws:iam::123456789012:role/mlops-retail-dev-airflow"


def test_connections_name_no_endpoint(stack):
    found = environment.with_aws(stack, KEYS)
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:14566"
    assert "endpoint" not in found["AIRFLOW_CONN_AWS_ADMIN"] + found["AIRFLOW_CONN_AWS_DEFAULT"]


# --- MLOPS_TARGET=aws ---
@pytest.fixture
def on_aws(stack: config.LocalStack, monkeypatch: pytest.MonkeyPatch) -> config.LocalStack:
    monkeypatch.setenv(config.TARGET, "aws")
    monkeypatch.setenv("RETAIL_ACCOUNT_ID", "210987654321")
    return stack


def test_on_an_account_airflow_is_whom_boto3_finds(on_aws, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    found = environment.with_aws(on_aws, {})
    assert found["AWS_PROFILE"] == "work"
    assert "AWS_ENDPOINT_URL" not in found
    admin, default = (json.loads(found[f"AIRFLOW_CONN_AWS_{name}"]) for name in ("ADMIN", "DEFAULT"))
    assert admin == {"conn_type": "aws", "extra": {"region_name": "ap-southeast-1"}}
    assert default["extra"]["role_arn"].startswith("arn:aws:iam::")
    assert "login" not in default


def test_on_an_account_no_setting_of_the_embedded_stack_is_in_force(on_aws):
    assert environment.retail(on_aws) == {"RETAIL_ACCOUNT_ID": "210987654321"}


def test_an_account_is_named_before_anything_starts(stack, monkeypatch):
    monkeypatch.setenv(config.TARGET, "aws")
    with pytest.raises(config.ConfigError, match="RETAIL_ACCOUNT_ID"):
        config.on_aws()


def test_another_aws_than_the_two_is_refused(stack, monkeypatch):
    monkeypatch.setenv(config.TARGET, "localstack")
    with pytest.raises(config.ConfigError, match="expected local or aws"):
        config.on_aws()


def test_an_airflow_of_one_run_has_that_dag_alone(stack, monkeypatch):
    monkeypatch.setenv(config.ONLY_DAG, "deploy")
    folder = Path(environment.airflow(stack)["AIRFLOW__CORE__DAGS_FOLDER"])
    assert [path.name for path in folder.iterdir()] == ["deploy.py"]
    assert (folder / "deploy.py").read_text() == (config.ROOT / "dags/deploy.py").read_text()
    assert environment.airflow(stack)["AIRFLOW__CORE__DAGS_FOLDER"] == str(folder)
