"""The API server's client of a process node: calls, watches, events."""

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
EVENT_SECONDS = 60


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def loopback(address: str) -> str:
    """The address at which a pod or Service of the API really listens: 127.x.y.z for 10.x.y.z."""
    return "127" + address[address.index(".") :]


class Api:
    """Needs a running event loop. Authenticates with the node certificate of a control plane's folder."""

    def __init__(self, plane: Path) -> None:
        self.url, pki = (plane / "server").read_text().strip(), plane / "pki"
        certificate = pki / "node.crt", pki / "node.key"
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
        """The answer's JSON; patch is merge or strategic-merge. ApiError for a status of 400 and above."""
        kind = f"application/{patch}-patch+json" if patch else "application/json"
        data = None if body is None else json.dumps(body)
        async with self.http.request(method, path, params=params, data=data, headers={"Content-Type": kind}) as reply:
            answer = await reply.json(content_type=None)
            if reply.status >= 400:
                raise ApiError(reply.status, answer.get("message", ""))
            return answer

    async def follow(self, path: str, changed: Callable[[bool, Object], object], **params: str) -> None:
        """Lists, then watches for ever; calls changed(deleted, object) for each object and each change."""
        known: dict[str, Object] = {}
        while True:
            try:
                page = await self.call("GET", path, None, None, **params)
                listed = {item["metadata"]["uid"]: item for item in page["items"]}
                for uid in known.keys() - listed.keys():
                    changed(True, known[uid])
                for item in listed.values():
                    changed(False, item)
                known, version = listed, page["metadata"]["resourceVersion"]
                while version:
                    version = await self._watch(path, version, known, changed, params)
            except (ApiError, *UNREACHABLE, json.JSONDecodeError) as error:
                log.warning("watch of %s: %r", path, error)
                await asyncio.sleep(1)

    async def _watch(
        self, path: str, version: str, known: dict[str, Object], changed: Callable, params: dict[str, str]
    ) -> str | None:
        """One watch; returns the version to go on from, None where that is too old and all must be listed again."""
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", **params}
        query["timeoutSeconds"] = str(WATCH_SECONDS)
        patience = aiohttp.ClientTimeout(total=None, sock_read=WATCH_SECONDS + 30)
        async with self.http.get(path, params=query, timeout=patience) as reply:
            reply.raise_for_status()
            async for line in reply.content:
                event = json.loads(line)
                kind, item = event["type"], event["object"]
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
        await self.http.close()


class Events:
    """What `kubectl describe` shows; the same message about an object no more than once a minute."""

    def __init__(self, api: Api, component: str, host: str) -> None:
        self.api, self.source = api, {"component": component, "host": host}
        self.said: dict[tuple[str, str, str], float] = {}

    async def post(self, about: Object, reason: str, message: str, warning: bool = False) -> None:
        """`about` has apiVersion, kind, namespace, name and uid."""
        key, clock = (about["uid"], reason, message), time.monotonic()
        self.said = {said: when for said, when in self.said.items() if clock - when < EVENT_SECONDS}
        if key in self.said:
            return
        self.said[key] = clock
        event = {
            "metadata": {"generateName": f"{about['name']}.", "namespace": about["namespace"]},
            "involvedObject": about,
            "reason": reason,
            "message": message[:1024],
            "type": "Warning" if warning else "Normal",
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": self.source,
        }
        try:
            await self.api.call("POST", f"/api/v1/namespaces/{about['namespace']}/events", event)
        except (ApiError, *UNREACHABLE) as error:  # the namespace may be ending
            log.info("event %s of %s: %s", reason, about["name"], error)
