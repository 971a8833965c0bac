"""A client of a Kubernetes API server that renews its bearer token and has a timeout."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from airflow.providers.amazon.aws.utils.eks_get_token import TOKEN_EXPIRATION_MINUTES
from kubernetes import client

RENEW_AFTER: Final = (TOKEN_EXPIRATION_MINUTES - 4) * 60
"""Seconds. EKS accepts a token for a quarter of an hour; the clocks of AWS and of this machine may differ."""
REQUEST_TIMEOUT: Final = 60
"""Seconds; the client's own default is none."""
BEARER: Final = "BearerToken"
"""The client's key for what it sends as `Authorization`."""


class Tokens:
    """The bearer token of each request: a new one when the last one is old.

    make: returns a token; clock: returns seconds.
    """

    def __init__(self, make: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._made_at: float | None = None

    def refresh(self, configuration: client.Configuration) -> None:
        """Put a valid token into the configuration; the client calls this before each request."""
        now = self._clock()
        if self._made_at is None or now - self._made_at >= RENEW_AFTER:
            configuration.api_key[BEARER] = f"Bearer {self._make()}"
            self._made_at = now


class _ApiClient(client.ApiClient):  # type: ignore[misc]  # the Kubernetes client is untyped
    """Adds a timeout to requests that have none."""

    def call_api(self, *args: Any, **options: Any) -> Any:
        if options.get("_request_timeout") is None:  # the generated methods pass None
            options["_request_timeout"] = REQUEST_TIMEOUT
        return super().call_api(*args, **options)


@contextmanager
def connect(endpoint: str, certificate_authority: str, tokens: Tokens) -> Iterator[client.ApiClient]:
    """Yield a client of an API server; certificate_authority: base64 of PEM, as EKS describes it."""
    with tempfile.NamedTemporaryFile(prefix="cluster-ca-", suffix=".pem") as authority:
        authority.write(base64.b64decode(certificate_authority))
        authority.flush()
        configuration = client.Configuration()
        configuration.host = endpoint.rstrip("/")
        configuration.ssl_ca_cert = authority.name
        configuration.refresh_api_key_hook = tokens.refresh
        tokens.refresh(configuration)  # without any token the client would not ask for one
        with _ApiClient(configuration) as api:
            yield api
