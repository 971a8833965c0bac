"""AWS's errors: their codes, how often a throttled call is repeated, and credentials that are no longer valid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
)

from retail_mlops.common.errors import RetailError

RETRY_CONFIG: Final = Config(retries={"mode": "standard", "total_max_attempts": 10})
"""CloudFormation throttles early (a few describing calls a second, for the whole account): repeat a call for a minute
or two, with growing, random pauses. Then Airflow's own retry of the task follows."""
EXPIRED_CODES: Final = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "InvalidClientTokenId")
CREDENTIAL_ERRORS: Final = (CredentialRetrievalError, NoCredentialsError, SSOError, TokenRetrievalError)


def error_code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


@contextmanager
def explain_expired_credentials(connection: str | None) -> Iterator[None]:
    """Turn AWS's errors about invalid credentials into a RetailError that says what to do."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in EXPIRED_CODES:
            raise
        raise _expired(connection, error) from error
    except CREDENTIAL_ERRORS as error:
        raise _expired(connection, error) from error


def _expired(connection: str | None, error: Exception) -> RetailError:
    return RetailError(
        f"AWS does not accept the credentials of connection {connection} (any more): {error}. Renew them (`aws sso "
        "login`, or new keys in the connection), then clear this task. CloudFormation continues meanwhile; "
        "the cleared task waits for it"
    )
