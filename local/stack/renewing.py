"""boto3 sessions whose credentials are fetched again before they expire, and which read botocore's files once."""

import json
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


class _WithoutTexts(botocore.loaders.JSONFileLoader):  # type: ignore[misc] # botocore has no types
    """botocore's data files without their documentation, which is most of them (EC2: 60 MB as Python objects)."""

    def _load_file(self, full_path: str, open_method: Callable[..., Any]) -> Any:
        if not Path(full_path).is_file():
            return None
        with open_method(full_path, "rb") as file:
            return json.loads(file.read(), object_pairs_hook=_without_texts)


def _without_texts(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object with empty texts; a member of a shape that is itself called documentation is no text, and stays."""
    return {name: "" if name == "documentation" and isinstance(value, str) else value for name, value in pairs}


@cache
def _loader() -> botocore.loaders.Loader:
    """Return the loader of botocore's data files that all sessions share."""
    boto3_data = Path(boto3.__file__).parent / "data"
    return botocore.loaders.Loader(extra_search_paths=[str(boto3_data)], file_loader=_WithoutTexts())


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
