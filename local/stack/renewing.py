"""boto3 sessions whose credentials are fetched again before they expire, and which read botocore's files once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import boto3
import botocore.loaders
import botocore.session
from botocore.credentials import RefreshableCredentials


class Credentials(TypedDict):
    """As the instance metadata service answers; Expiration: 2026-01-02T03:04:05Z."""

    AccessKeyId: str
    SecretAccessKey: str
    Token: str
    Expiration: str


@cache
def _loader() -> botocore.loaders.Loader:
    """botocore's data files as Python objects, of all sessions: they take 10 MB and 0.1 s of CPU each time."""
    return botocore.loaders.Loader(extra_search_paths=[str(Path(boto3.__file__).parent / "data")])


def core() -> Any:
    """A session of botocore without credentials."""
    made = botocore.session.Session()
    made.register_component("data_loader", _loader())
    return made


def session(fetch: Callable[[], Credentials], region: str, method: str) -> boto3.Session:
    """method: the name of this way to get credentials in botocore's logs."""

    def renew() -> dict[str, str]:
        found = fetch()
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["Token"],
            "expiry_time": found["Expiration"],
        }

    made = core()
    made._credentials = RefreshableCredentials.create_from_metadata(renew(), renew, method)
    return boto3.Session(botocore_session=made, region_name=region)
