"""boto3 sessions whose credentials are fetched again before they expire."""

from collections.abc import Callable
from typing import Any, TypedDict

import boto3
import botocore.session
from botocore.credentials import RefreshableCredentials


class Credentials(TypedDict):
    """As the instance metadata service answers; Expiration: 2026-01-02T03:04:05Z."""

    AccessKeyId: str
    SecretAccessKey: str
    Token: str
    Expiration: str


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

    core: Any = botocore.session.Session()
    core._credentials = RefreshableCredentials.create_from_metadata(renew(), renew, method)
    return boto3.Session(botocore_session=core, region_name=region)
