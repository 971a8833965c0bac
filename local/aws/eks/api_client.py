"""A blocking client of a control plane's API server, for the threads of the AWS emulation."""

import contextlib
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

Object = dict[str, Any]
TIMEOUT_SECONDS: Final = 15.0


_PATCH_TYPES: Final = {"merge": "application/merge-patch+json", "apply": "application/apply-patch+yaml"}


class ApiServerError(Exception):
    """The API server refused a call, or could not be reached (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}" if status else message)
        self.status = status


class ApiServer:
    """A client that logs in with the administrator's certificate in the control plane's folder."""

    def __init__(self, plane: Path) -> None:
        pki = plane / "pki"
        self.url = (plane / "server").read_text().strip()
        self.tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self.tls.load_cert_chain(pki / "node.crt", pki / "node.key")

    def call(self, method: str, path: str, body: Object | None = None, patch: str = "", **query: str) -> Object:
        """Return the answer's JSON. Raise ApiServerError for a refusal. patch: merge or apply (server-side)."""
        content_type = _PATCH_TYPES.get(patch, "application/json")
        request = urllib.request.Request(
            f"{self.url}{path}{'?' + urllib.parse.urlencode(query) if query else ''}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self.tls) as reply:
                return dict(json.loads(reply.read()))
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            with contextlib.suppress(ValueError, KeyError, TypeError):
                text = json.loads(text)["message"]
            raise ApiServerError(error.code, text) from error
        except (OSError, ValueError) as error:
            raise ApiServerError(0, f"{self.url}: {error}") from error

    def items(self, path: str, **query: str) -> list[Object]:
        """Return the items of a list."""
        return self.call("GET", path, None, "", **query)["items"]
