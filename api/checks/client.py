"""A client of the API for the checks: requests over a kept connection, and the wait until the API is ready."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from api.errors import ApiError

TIMEOUT_SECONDS = 10
READY_TIMEOUT_SECONDS = 60
"""A Service routes to new pods only after a while."""
RETRY_SECONDS = 0.5
NO_ANSWER = (OSError, http.client.HTTPException)
"""What a request raises when no answer comes."""


class Inconclusive(ApiError):
    """The check could not be made: a setting or the baskets are wrong, or the API gives no answer at all."""


class Client:
    """Requests to one base URL over a kept connection, which is opened again when the server has closed it."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raise Inconclusive when `url` is not http://host:port. key: the first line of API_KEY is sent."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Inconclusive(f"the URL {url!r} of the API is not http://host:port: correct it")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_SECONDS)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["X-API-Key"] = key.split()[0]

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, dict[str, Any], str]:
        """Return status, JSON answer and model version. Raise one of NO_ANSWER, or ValueError for other content."""
        content = None if document is None else json.dumps(document).encode()
        reply, answer = self._send(method, path, content)
        return reply.status, json.loads(answer), reply.headers.get("X-Model-Version", "")

    def text(self, path: str) -> str:
        """Return the text of a page. Raise Inconclusive when it is refused, one of NO_ANSWER without an answer."""
        reply, answer = self._send("GET", path, None)
        if reply.status != 200:
            raise Inconclusive(f"GET {path} answers status {reply.status} instead of 200")
        return answer.decode()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            self._connection.request(method, path, content, self._headers)
            reply = self._connection.getresponse()
            return reply, reply.read()
        except NO_ANSWER:
            self._connection.close()
            raise


def wait_until_ready(client: Client, timeout: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Return when /ready answers 200. Raise Inconclusive with the last reason after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        reason = _why_not_ready(client)
        if reason is None:
            return
        if time.monotonic() >= deadline:
            raise Inconclusive(f"the API was not ready within {timeout:.0f} s ({reason}): see the log of its pods")
        pause(RETRY_SECONDS)


def _why_not_ready(client: Client) -> str | None:
    try:
        status, answer, _ = client.call("GET", "/ready")
    except (*NO_ANSWER, ValueError) as error:
        return repr(error)
    return None if status == 200 else f"{status}: {answer.get('reason', answer)}"
