"""Who one is in the embedded AWS: the bootstrap IAM user, an administrator that is not root."""

import json
from typing import Any

import boto3

from include.settings import REGION
from local.aws import home
from local.stack import config

USER = "bootstrap"
FILE = "bootstrap.json"


class NotStarted(Exception):
    """The embedded AWS has not made its bootstrap user yet."""


def client_env(stack: config.LocalStack) -> dict[str, str]:
    """Environment for any AWS client; NotStarted before the first `python -m local.aws` of this local stack."""
    path = home.folder(stack) / FILE
    try:
        keys = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotStarted(f"{path} is not there: the embedded AWS was never started, run `make up`") from None
    return {
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
    }


class Session(boto3.Session):
    """A boto3 session whose clients talk to the local stack's endpoint, whatever this process's environment says."""

    def __init__(self, endpoint: str, **keys: Any) -> None:
        super().__init__(**keys)
        self.endpoint = endpoint

    def client(self, *args, **kwargs):
        return super().client(*args, **{"endpoint_url": self.endpoint} | kwargs)

    def resource(self, *args, **kwargs):
        return super().resource(*args, **{"endpoint_url": self.endpoint} | kwargs)


def session(stack: config.LocalStack) -> boto3.Session:
    """A session of the bootstrap user; NotStarted as client_env."""
    env = client_env(stack)
    return Session(
        stack.aws_url,
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
