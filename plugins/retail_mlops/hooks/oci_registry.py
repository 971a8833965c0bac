"""Copies an image of one platform from a public registry to the project's own, each byte checked by its digest.

By the registries' own protocol (https://github.com/opencontainers/distribution-spec), so that no Docker is needed.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final
from urllib.parse import urljoin

import requests
from airflow.utils.log.logging_mixin import LoggingMixin

from retail_mlops.common.errors import RetailError

INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
PLATFORM: Final = {"os": "linux", "architecture": "amd64"}
"""The platform of the nodes."""
TIMEOUT: Final = (10, 120)
"""Seconds to connect, and to wait for a byte."""
_CHALLENGE_FIELD: Final = re.compile(r'(\w+)="([^"]*)"')


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Repository(LoggingMixin):
    """A repository of a registry; registry: its URL; authorization: the header's value, "" for an anonymous client."""

    def __init__(self, registry: str, name: str, authorization: str = "") -> None:
        super().__init__()
        self.registry, self.name = registry.rstrip("/"), name
        self.session = requests.Session()
        if authorization:
            self.session.headers["Authorization"] = authorization

    # --- the protocol ---
    def _url(self, rest: str) -> str:
        return f"{self.registry}/v2/{self.name}/{rest}"

    def _request(self, method: str, url: str, expected: tuple[int, ...], **options: Any) -> requests.Response:
        """Send a request, after a login if the registry asks for one.

        RetailError, in the registry's own words, for a status that was not expected. An error of `requests`, which may
        pass and is retried, for no answer or a failing server.
        """
        answer = self.session.request(method, url, timeout=TIMEOUT, **options)
        if answer.status_code == 401 and self._log_in(answer.headers.get("WWW-Authenticate", "")):
            answer = self.session.request(method, url, timeout=TIMEOUT, **options)
        if answer.status_code >= 500 or answer.status_code == 429:
            answer.raise_for_status()
        if answer.status_code not in expected:
            raise RetailError(f"{method} {answer.url}: {answer.status_code} {answer.text[:400] or answer.reason}")
        return answer

    def _log_in(self, challenge: str) -> bool:
        """Fetch the token that a public registry gives to everybody; return whether it asked for one."""
        scheme, _, rest = challenge.partition(" ")
        fields = dict(_CHALLENGE_FIELD.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in fields or "Authorization" in self.session.headers:
            return False
        parameters = {"service": fields.get("service", ""), "scope": f"repository:{self.name}:pull"}
        answer = self.session.get(fields["realm"], params=parameters, timeout=TIMEOUT)
        if answer.status_code != 200:
            return False
        self.session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return True

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """Return (bytes, media type) of a tag or digest; RetailError when the bytes do not have that digest."""
        accept = ", ".join((*INDEXES, *MANIFESTS))
        answer = self._request("GET", self._url(f"manifests/{reference}"), (200,), headers={"Accept": accept})
        kind = json.loads(answer.content).get("mediaType") or answer.headers["Content-Type"]
        return self._checked(answer.content, reference), kind

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a digest; RetailError when they do not have it."""
        return self._checked(self._request("GET", self._url(f"blobs/{digest}"), (200,)).content, digest)

    def _checked(self, data: bytes, reference: str) -> bytes:
        if ":" in reference and digest_of(data) != reference:
            raise RetailError(
                f"{self.registry} sent other content of {self.name} than {reference}: its digest is {digest_of(data)}. "
                "Clear this task to fetch it again"
            )
        return data

    def has(self, digest: str) -> bool:
        return self._request("HEAD", self._url(f"blobs/{digest}"), (200, 404)).status_code == 200

    def upload(self, data: bytes) -> None:
        """Upload one blob, in one piece."""
        started = self._request("POST", self._url("blobs/uploads/"), (202,))
        location = urljoin(self.registry, started.headers["Location"])
        sent = self._request("PATCH", location, (202,), data=data, headers={"Content-Type": "application/octet-stream"})
        location = urljoin(self.registry, sent.headers.get("Location", location))
        self._request("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest_of(data)}", (201,))

    def put(self, tag: str, manifest: bytes, media_type: str) -> None:
        """Upload a manifest under a tag."""
        self._request("PUT", self._url(f"manifests/{tag}"), (201,), data=manifest, headers={"Content-Type": media_type})


def copy(source: Repository, tag: str, target: Repository, pinned: str = "") -> str:
    """Copy the platform's image to the target, under the same tag; return its digest.

    pinned: digest that the tag must have at the source; RetailError, with nothing copied, when it has another.
    """
    listed, media_type = source.manifest(tag)
    if pinned and digest_of(listed) != pinned:
        raise RetailError(
            f"{source.name}:{tag} is {digest_of(listed)}, but RETAIL_CONTROLLER_DIGEST is {pinned}: nothing was "
            "copied. Check who moved the tag, then correct the setting"
        )
    if media_type in INDEXES:
        entries = json.loads(listed)["manifests"]
        matching = [entry for entry in entries if PLATFORM.items() <= entry.get("platform", {}).items()]
        if not matching:
            raise RetailError(f"{source.name}:{tag} has no image for {PLATFORM['os']}/{PLATFORM['architecture']}")
        manifest, media_type = source.manifest(matching[0]["digest"])
    else:
        manifest = listed
    content = json.loads(manifest)
    for blob in (content["config"], *content["layers"]):
        if not target.has(blob["digest"]):
            target.upload(source.blob(blob["digest"]))
    target.put(tag, manifest, media_type)
    source.log.info("Copied %s:%s (%s) as %s", source.name, tag, digest_of(listed), digest_of(manifest))
    return digest_of(manifest)
