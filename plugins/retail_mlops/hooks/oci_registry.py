"""Copies an image of one platform from a public registry into ours, each byte checked by its digest.

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
"""The nodes'."""
TIMEOUT: Final = (10, 120)
"""Seconds to connect, and without a byte."""
_PART: Final = re.compile(r'(\w+)="([^"]*)"')


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Repository(LoggingMixin):
    """A repository of a registry; registry: its URL. authorization: the header's text, or "" for nobody's rights."""

    def __init__(self, registry: str, name: str, authorization: str = "") -> None:
        super().__init__()
        self.registry, self.name = registry.rstrip("/"), name
        self.session = requests.Session()
        if authorization:
            self.session.headers["Authorization"] = authorization

    # --- the protocol ---
    def _url(self, rest: str) -> str:
        return f"{self.registry}/v2/{self.name}/{rest}"

    def _ask(self, method: str, url: str, good: tuple[int, ...], **options: Any) -> requests.Response:
        """RetailError for another status than the good ones, in the registry's own words; an error of `requests`, which
        may pass, for no answer or a failing server."""
        answer = self.session.request(method, url, timeout=TIMEOUT, **options)
        if answer.status_code == 401 and self._log_in(answer.headers.get("WWW-Authenticate", "")):
            answer = self.session.request(method, url, timeout=TIMEOUT, **options)
        if answer.status_code >= 500 or answer.status_code == 429:
            answer.raise_for_status()
        if answer.status_code not in good:
            raise RetailError(f"{method} {answer.url}: {answer.status_code} {answer.text[:400] or answer.reason}")
        return answer

    def _log_in(self, challenge: str) -> bool:
        """Fetches the token that a public registry gives to everybody; whether it asked for one."""
        scheme, _, rest = challenge.partition(" ")
        asked = dict(_PART.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in asked or "Authorization" in self.session.headers:
            return False
        wanted = {"service": asked.get("service", ""), "scope": f"repository:{self.name}:pull"}
        given = self.session.get(asked["realm"], params=wanted, timeout=TIMEOUT)
        if given.status_code != 200:
            return False
        self.session.headers["Authorization"] = f"Bearer {given.json()['token']}"
        return True

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """(bytes, media type) of a tag or digest; RetailError when they are not those of the digest."""
        accept = ", ".join((*INDEXES, *MANIFESTS))
        answer = self._ask("GET", self._url(f"manifests/{reference}"), (200,), headers={"Accept": accept})
        kind = json.loads(answer.content).get("mediaType") or answer.headers["Content-Type"]
        return self._checked(answer.content, reference), kind

    def blob(self, wanted: str) -> bytes:
        return self._checked(self._ask("GET", self._url(f"blobs/{wanted}"), (200,)).content, wanted)

    def _checked(self, data: bytes, reference: str) -> bytes:
        if ":" in reference and digest(data) != reference:
            raise RetailError(f"{self.registry} gave other content of {self.name} than {reference}: {digest(data)}")
        return data

    def has(self, wanted: str) -> bool:
        return self._ask("HEAD", self._url(f"blobs/{wanted}"), (200, 404)).status_code == 200

    def upload(self, data: bytes) -> None:
        """One blob, in one piece."""
        begun = self._ask("POST", self._url("blobs/uploads/"), (202,))
        there = urljoin(self.registry, begun.headers["Location"])
        sent = self._ask("PATCH", there, (202,), data=data, headers={"Content-Type": "application/octet-stream"})
        there = urljoin(self.registry, sent.headers.get("Location", there))
        self._ask("PUT", f"{there}{'&' if '?' in there else '?'}digest={digest(data)}", (201,))

    def put(self, tag: str, manifest: bytes, kind: str) -> None:
        self._ask("PUT", self._url(f"manifests/{tag}"), (201,), data=manifest, headers={"Content-Type": kind})


def copy(source: Repository, tag: str, target: Repository, pinned: str = "") -> str:
    """Digest of the platform's image, which the target has under the same tag when this returns.

    pinned: digest that the tag must name at the source; RetailError, with nothing copied, when it names another.
    """
    listed, kind = source.manifest(tag)
    if pinned and digest(listed) != pinned:
        raise RetailError(
            f"{source.name}:{tag} is {digest(listed)}, and RETAIL_CONTROLLER_DIGEST says {pinned}: nothing was copied"
        )
    if kind in INDEXES:
        wanted = [one for one in json.loads(listed)["manifests"] if PLATFORM.items() <= one.get("platform", {}).items()]
        if not wanted:
            raise RetailError(f"{source.name}:{tag} has no image for {PLATFORM['os']}/{PLATFORM['architecture']}")
        manifest, kind = source.manifest(wanted[0]["digest"])
    else:
        manifest = listed
    content = json.loads(manifest)
    for part in (content["config"], *content["layers"]):
        if not target.has(part["digest"]):
            target.upload(source.blob(part["digest"]))
    target.put(tag, manifest, kind)
    source.log.info("copied %s:%s (%s) as %s", source.name, tag, digest(listed), digest(manifest))
    return digest(manifest)
