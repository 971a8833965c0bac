"""How everybody else logs in to the AWS emulation: as the bootstrap IAM user, an administrator that is not root."""

import json
from typing import Any

import boto3

from include.settings import REGION
from local.aws import home
from local.stack import config

USER = "bootstrap"
FILE = "bootstrap.json"


class NotStarted(Exception):
    """The AWS emulation has not created its bootstrap user yet."""


def client_env(stack: config.LocalStack) -> dict[str, str]:
    """Return the environment for any AWS client. Raise NotStarted before the first start of the service."""
    path = home.folder(stack) / FILE
    try:
        keys = json.loads(path.read_text())
    except FileNotFoundError:
        raise NotStarted(f"{path} does not exist: the AWS emulation has never been started. Run `make up`") from None
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

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """Return a client of the local stack, unless endpoint_url names another one."""
        return super().client(*args, **{"endpoint_url": self.endpoint} | kwargs)

    def resource(self, *args: Any, **kwargs: Any) -> Any:
        """Return a resource of the local stack, unless endpoint_url names another one."""
        return super().resource(*args, **{"endpoint_url": self.endpoint} | kwargs)


def session(stack: config.LocalStack) -> boto3.Session:
    """Return a session of the bootstrap user. Raise NotStarted as `client_env` does."""
    env = client_env(stack)
    return Session(
        stack.aws_url,
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
