"""A client of the API server: calls, watches, Events. docs/decisions/0017-own-kubernetes-client.md gives the reason."""

import asyncio
import datetime
import json
import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from local.kube.errors import ApiError

log = logging.getLogger(__name__)

Object = dict[str, Any]
"""An object of the API as JSON."""

UNREACHABLE = (aiohttp.ClientError, TimeoutError)
WATCH_SECONDS = 300
WATCH_RETRY_SECONDS = 1
EVENT_SECONDS = 60
Changed = Callable[[bool, Object], object]
"""Called for a change of an object: (deleted, object)."""


def now() -> str:
    """Return the time as the API writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def loopback(address: str) -> str:
    """Return where a pod or Service with an address 10.x.y.z in the API listens: at 127.x.y.z."""
    return "127" + address[address.index(".") :]


class Api:
    """A client that logs in with the node certificate of a cluster's folder. Needs a running event loop.

    tls_server: for an endpoint that only clients with a certificate of this cluster may use.
    """

    def __init__(self, folder: Path) -> None:
        self.url = (folder / "server").read_text().strip()
        pki = folder / "pki"
        certificate = (pki / "node.crt", pki / "node.key")
        client = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        client.load_cert_chain(*certificate)
        self.tls_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        self.tls_server.load_cert_chain(*certificate)
        self.tls_server.verify_mode = ssl.CERT_REQUIRED
        self.http = aiohttp.ClientSession(
            self.url, connector=aiohttp.TCPConnector(ssl=client, limit=0), read_bufsize=2**24
        )

    async def call(
        self, method: str, path: str, body: Object | None = None, patch: str | None = None, **params: str
    ) -> Object:
        """Return the answer's JSON; patch is merge or strategic-merge. ApiError for a status of 400 and above."""
        kind = f"application/{patch}-patch+json" if patch else "application/json"
        data = None if body is None else json.dumps(body)
        async with self.http.request(method, path, params=params, data=data, headers={"Content-Type": kind}) as reply:
            answer: Object = await reply.json(content_type=None)
            if reply.status >= 400:
                raise ApiError(reply.status, answer.get("message", ""))
            return answer

    async def follow(self, path: str, changed: Changed, **params: str) -> None:
        """List, then watch until this is cancelled; call `changed` for each object and each change."""
        known: dict[str, Object] = {}
        while True:
            try:
                page = await self.call("GET", path, None, None, **params)
                listed = {item["metadata"]["uid"]: item for item in page["items"]}
                for uid in known.keys() - listed.keys():
                    changed(True, known[uid])
                for item in listed.values():
                    changed(False, item)
                known = listed
                version = page["metadata"]["resourceVersion"]
                while version:
                    version = await self._watch(path, version, known, changed, params)
            except (ApiError, *UNREACHABLE, json.JSONDecodeError) as error:
                log.warning("watch of %s ended, trying again: %r", path, error)
                await asyncio.sleep(WATCH_RETRY_SECONDS)

    async def _watch(
        self, path: str, version: str, known: dict[str, Object], changed: Changed, params: dict[str, str]
    ) -> str | None:
        """Watch once; return the version to continue from, None when it is too old and all must be listed again."""
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", **params}
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=WATCH_SECONDS + 30)
        async with self.http.get(path, params=query, timeout=timeout) as reply:
            reply.raise_for_status()
            async for line in reply.content:
                event = json.loads(line)
                kind = event["type"]
                item = event["object"]
                if kind == "ERROR":
                    return None
                version = item["metadata"]["resourceVersion"]
                if kind == "BOOKMARK":
                    continue
                if kind == "DELETED":
                    known.pop(item["metadata"]["uid"], None)
                else:
                    known[item["metadata"]["uid"]] = item
                changed(kind == "DELETED", item)
        return version

    async def close(self) -> None:
        """Close all connections."""
        await self.http.close()


class Events:
    """Posts Events (shown by `kubectl describe`): the same message about an object at most once a minute."""

    def __init__(self, api: Api, component: str, host: str) -> None:
        self._api = api
        self._source = {"component": component, "host": host}
        self._posted: dict[tuple[str, str, str], float] = {}

    async def post(self, about: Object, reason: str, message: str, warning: bool = False) -> None:
        """Post an Event about an object; `about` has apiVersion, kind, namespace, name and uid."""
        key = (about["uid"], reason, message)
        clock = time.monotonic()
        self._posted = {posted: when for posted, when in self._posted.items() if clock - when < EVENT_SECONDS}
        if key in self._posted:
            return
        self._posted[key] = clock
        event = {
            "metadata": {"generateName": f"{about['name']}.", "namespace": about["namespace"]},
            "involvedObject": about,
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": self._source,
        }
        try:
            await self._api.call("POST", f"/api/v1/namespaces/{about['namespace']}/events", event)
        except (ApiError, *UNREACHABLE) as error:  # the namespace may be terminating
            log.info("cannot post event %s of %s: %s", reason, about["name"], error)
