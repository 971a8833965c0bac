"""The account's root: its random secret, its clients for code of this process, and the bootstrap user that it creates.

CloudFormation and node groups create resources through the public API, so that these are checked, tagged and listed
like any others. Their clients sign as root, whose secret never leaves this process's state folder.
"""

import json
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from include.settings import REGION
from local.aws import credentials, home
from local.stack import renewing

KEY: Final = "test"
"""The access key that ministack accepts as root's."""
ADMINISTRATOR: Final = "arn:aws:iam::aws:policy/AdministratorAccess"

_lock: Final = threading.Lock()  # a session of boto3 must not create clients in several threads at once


def secret(folder: Path) -> str:
    """Return root's secret key, which the first start creates."""
    path = folder / "root-secret"
    if not path.exists():
        home.write_private(path, secrets.token_urlsafe(30))
    return path.read_text()


@cache
def _session(endpoint: str, key: str) -> boto3.Session:
    return credentials.Session(
        endpoint,
        botocore_session=renewing.core(),
        aws_access_key_id=KEY,
        aws_secret_access_key=key,
        region_name=REGION,
    )


_configuration: dict[str, str] = {}


def configure(endpoint: str, key: str) -> None:
    """Set where this process serves and what root's secret is. Call it before the first client is asked for."""
    _configuration.update(endpoint=endpoint, key=key)


@cache
def _client(service: str) -> Any:
    with _lock:
        session = _session(_configuration["endpoint"], _configuration["key"])
        return session.client(service, config=Config(retries={"max_attempts": 2}))


def client(service: str) -> Any:
    """Return a boto3 client of root. Its calls come back into this process: never call it on the event loop."""
    return _client(service)


def make_bootstrap_user(folder: Path) -> None:
    """Create the IAM user `bootstrap` and write its keys to bootstrap.json, unless both exist."""
    path = folder / credentials.FILE
    iam = client("iam")
    names = {user["UserName"] for user in iam.list_users()["Users"]}
    if credentials.USER not in names:
        iam.create_user(UserName=credentials.USER)
    iam.attach_user_policy(UserName=credentials.USER, PolicyArn=ADMINISTRATOR)
    existing = {key["AccessKeyId"] for key in iam.list_access_keys(UserName=credentials.USER)["AccessKeyMetadata"]}
    if path.exists() and json.loads(path.read_text())["AccessKeyId"] in existing:
        return
    for stale in existing:
        iam.delete_access_key(UserName=credentials.USER, AccessKeyId=stale)
    key = iam.create_access_key(UserName=credentials.USER)["AccessKey"]
    home.write_private(path, json.dumps({name: key[name] for name in ("AccessKeyId", "SecretAccessKey")}))
