"""Sessions of equal connections are made once a process, and hooks find the project's factory."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import botocore.session
import pytest
from airflow.providers.amazon.aws.hooks import base_aws
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from local.stack.airflow_scheduler import LIBRARIES
from retail_mlops.hooks.sessions import LOADER, SharedSessionFactory, preload

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def factory(monkeypatch):
    """As AIRFLOW__AWS__SESSION_FACTORY has it; no sessions yet."""
    monkeypatch.setattr(base_aws, "SessionFactory", SharedSessionFactory)
    SharedSessionFactory._made.__dict__.clear()
    yield
    SharedSessionFactory._made.__dict__.clear()


@pytest.fixture
def connection(monkeypatch):
    """Sets a connection's extra."""

    def put(name, **extra):
        document = {"conn_type": "aws", "login": "AKIATEST", "password": "secret", "extra": extra}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(document))

    return put


@pytest.fixture
def assumed(monkeypatch):
    """The roles that were assumed."""
    roles = []

    def assume(self, sts_client):
        roles.append(self.role_arn)
        expires = base_aws.datetime.datetime(2099, 1, 1, tzinfo=base_aws.datetime.UTC)
        credentials = {"AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": expires}
        return {"Credentials": credentials, "ResponseMetadata": {"HTTPStatusCode": 200}}

    monkeypatch.setattr(SharedSessionFactory, "_assume_role", assume)
    return roles


ROLE = "arn:aws:iam::123456789012:role/mlops-retail-dev-airflow"


def test_role_is_assumed_once_for_all_hooks(connection, assumed):
    connection("one", region_name="ap-southeast-1", role_arn=ROLE)
    clients = [S3Hook("one").conn, AwsBaseHook("one", client_type="logs").conn, S3Hook("one").conn]
    assert assumed == [ROLE]
    assert {client._request_signer._credentials.access_key for client in clients} == {"ASIA"}


def test_another_role_is_another_session(connection, assumed):
    connection("one", region_name="ap-southeast-1", role_arn=ROLE)
    connection("two", region_name="ap-southeast-1", role_arn=f"{ROLE}-2")
    assert S3Hook("one").get_session() is not S3Hook("two").get_session()
    assert assumed == [ROLE, f"{ROLE}-2"]


def test_changed_connection_is_another_session(connection):
    connection("one", region_name="ap-southeast-1")
    before = S3Hook("one").get_session()
    connection("one", region_name="us-east-1")
    after = S3Hook("one").get_session()
    assert (before.region_name, after.region_name) == ("ap-southeast-1", "us-east-1")


def test_another_region_is_another_session(connection):
    connection("one", region_name="ap-southeast-1")
    assert AwsBaseHook("one", client_type="s3", region_name="us-east-1").conn.meta.region_name == "us-east-1"
    assert S3Hook("one").conn.meta.region_name == "ap-southeast-1"


def test_another_thread_has_sessions_of_its_own(connection):
    connection("one", region_name="ap-southeast-1")
    found = []
    thread = threading.Thread(target=lambda: found.append(S3Hook("one").get_session()))
    thread.start()
    thread.join()
    assert found[0] is not S3Hook("one").get_session()
    assert S3Hook("one").get_session() is S3Hook("one").get_session()


def test_data_files_are_read_once(connection, assumed):
    connection("one", region_name="ap-southeast-1", role_arn=ROLE)
    session = S3Hook("one").get_session()
    assert session._session.get_component("data_loader") is LOADER
    assert session.resource("s3").Bucket("b").name == "b", "resources, which boto3 adds, are found, too"


def test_sessions_of_triggers_are_their_own(connection):
    connection("one", region_name="ap-southeast-1")
    asked = S3Hook("one").get_session(deferrable=True)
    assert asked is not S3Hook("one").get_session(deferrable=True)


def test_hooks_find_the_factory_by_its_setting():
    code = (
        "from airflow.providers.amazon.aws.hooks import base_aws\n"
        "from airflow.providers.amazon.aws.hooks.s3 import S3Hook\n"
        "assert S3Hook().get_session() is S3Hook().get_session()\n"
        "print(base_aws.SessionFactory.__module__)"
    )
    name = f"{SharedSessionFactory.__module__}.{SharedSessionFactory.__name__}"
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    environment = os.environ | {"AIRFLOW__AWS__SESSION_FACTORY": name, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "retail_mlops.hooks.sessions"


def test_preloaded_services_are_read_no_more(monkeypatch):
    preload(["sts", "s3"])
    monkeypatch.setattr(LOADER, "file_loader", None)  # whoever reads a file now breaks
    core = botocore.session.get_session()
    core.register_component("data_loader", LOADER)
    assert core.create_client("s3", "ap-southeast-1").meta.service_model.service_name == "s3"
    assert core.create_client("sts", "ap-southeast-1").meta.service_model.service_name == "sts"


# --- what the local stack's scheduler imports before it forks ---
@pytest.mark.parametrize("name", LIBRARIES)
def test_library_is_installed_and_none_of_ours(name):
    assert __import__(name)
    assert name.partition(".")[0] not in ("dags", "include", "local", "retail_mlops")
