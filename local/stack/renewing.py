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
    """Return the loader that all sessions share: reading botocore's files takes 10 MB and 0.1 s of CPU each time."""
    return botocore.loaders.Loader(extra_search_paths=[str(Path(boto3.__file__).parent / "data")])


def core() -> Any:
    """Return a session of botocore without credentials."""
    made = botocore.session.Session()
    made.register_component("data_loader", _loader())
    return made


def session(fetch: Callable[[], Credentials], region: str, method: str) -> boto3.Session:
    """Return a session that fetches its credentials again; method: how botocore's logs name their source."""

    def renew() -> dict[str, str]:
        credentials = fetch()
        return {
            "access_key": credentials["AccessKeyId"],
            "secret_key": credentials["SecretAccessKey"],
            "token": credentials["Token"],
            "expiry_time": credentials["Expiration"],
        }

    made = core()
    made._credentials = RefreshableCredentials.create_from_metadata(renew(), renew, method)
    return boto3.Session(botocore_session=made, region_name=region)
