"""The account's root: its random secret, its clients for code of this process, and the bootstrap user it makes.

CloudFormation and node groups make resources through the public API, so that what they make is checked, tagged and
listed like anybody's. Their clients sign as root, whose secret never leaves this process's state folder.
"""

import json
import secrets
import threading
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from include.settings import REGION
from local.aws import credentials, home
from local.stack import renewing

KEY = "test"
"""The access key that ministack takes for root."""
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"

_making = threading.Lock()  # of clients: boto3's default session is not made for threads


def secret(folder: Path) -> str:
    """Root's secret key, made at the first start."""
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


_where: dict[str, str] = {}


def at(endpoint: str, key: str) -> None:
    """Say where this process serves and what root's secret is, before the first client."""
    _where.update(endpoint=endpoint, key=key)


@cache
def _client(service: str) -> Any:
    with _making:
        return _session(_where["endpoint"], _where["key"]).client(service, config=Config(retries={"max_attempts": 2}))


def client(service: str) -> Any:
    """A boto3 client of root. Its calls come back into this process: never call it on the event loop."""
    return _client(service)


def make_bootstrap_user(folder: Path) -> None:
    """The IAM user `bootstrap` and its keys in bootstrap.json; nothing is done when both are there."""
    path, iam = folder / credentials.FILE, client("iam")
    names = {user["UserName"] for user in iam.list_users()["Users"]}
    if credentials.USER not in names:
        iam.create_user(UserName=credentials.USER)
    iam.attach_user_policy(UserName=credentials.USER, PolicyArn=ADMINISTRATOR)
    there = {key["AccessKeyId"] for key in iam.list_access_keys(UserName=credentials.USER)["AccessKeyMetadata"]}
    if path.exists() and json.loads(path.read_text())["AccessKeyId"] in there:
        return
    for stale in there:
        iam.delete_access_key(UserName=credentials.USER, AccessKeyId=stale)
    made = iam.create_access_key(UserName=credentials.USER)["AccessKey"]
    home.write_private(path, json.dumps({name: made[name] for name in ("AccessKeyId", "SecretAccessKey")}))
