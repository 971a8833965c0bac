"""Services: TCP from cluster addresses, node ports and load balancers to the ready endpoints, round robin.

A Service of type LoadBalancer listens at 127.0.0.1:<port>. When all its ports listen, its status has the hostname
`localhost`.
"""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.kube.api import UNREACHABLE, Api, Changed, Events, Object, loopback
from local.kube.errors import ApiError

log = logging.getLogger(__name__)

ENDPOINT_LAG = 1.5
"""Seconds until a changed endpoint reaches the proxy: load balancers and nodes of a cloud are late, too."""
RETRY_SECONDS = 10.0
"""How often a port that was not free is tried again."""
PRIVILEGED_PORT_OFFSET = 10000
LOCALHOST = "127.0.0.1"
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

Address = tuple[str, int]
Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Backend:
    """A port of a Service."""

    namespace: str
    service: str
    port_name: str

    def is_of(self, namespace: str, service: str | None) -> bool:
        """Return whether it belongs to this Service."""
        return (self.namespace, self.service) == (namespace, service)


def lowest_port() -> int:
    """Return the first port at which this process may listen."""
    if os.geteuid() == 0:
        return 0
    return int(UNPRIVILEGED.read_text()) if UNPRIVILEGED.exists() else 1024


def listen_port(port: int, lowest: int) -> int:
    """Return where a port of a cluster address listens: at itself, or above when only root may listen at it.

    The *_SERVICE_PORT variables of pods contain this port.
    """
    return port if port >= lowest else port + PRIVILEGED_PORT_OFFSET


def is_balancer(service: Object) -> bool:
    """Return whether a Service has a load balancer."""
    return bool(service["spec"]["type"] == "LoadBalancer")


def outside(service: Object) -> list[Address]:
    """Return the addresses of a Service outside the cluster: of its load balancer, or its node ports."""
    ports = service["spec"].get("ports", [])
    if is_balancer(service):
        return [(LOCALHOST, port["port"]) for port in ports]
    return [(LOCALHOST, port["nodePort"]) for port in ports if port.get("nodePort")]


def routes(services: Iterable[Object], lowest: int) -> tuple[dict[Address, Backend], dict[str, list[Address]]]:
    """Return where to listen for which backend, and by uid the addresses that an older Service already has."""
    listening: dict[Address, Backend] = {}
    refused: dict[str, list[Address]] = {}
    for item in sorted(services, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["uid"])):
        if not _has_cluster_address(item):
            continue
        meta = item["metadata"]
        spec = item["spec"]
        backends = [Backend(meta["namespace"], meta["name"], port.get("name", "")) for port in spec["ports"]]
        inside = [(loopback(spec["clusterIP"]), listen_port(port["port"], lowest)) for port in spec["ports"]]
        listening |= zip(inside, backends, strict=True)
        for address, backend in zip(outside(item), backends, strict=False):
            if address in listening:
                refused.setdefault(meta["uid"], []).append(address)
            else:
                listening[address] = backend
    return listening, refused


def _has_cluster_address(service: Object) -> bool:
    """Return whether the proxy listens for a Service: not for a headless one, an ExternalName or the API server's."""
    meta = service["metadata"]
    if (meta["namespace"], meta["name"]) == ("default", "kubernetes"):  # pods get the API server's own address
        return False
    return service["spec"].get("clusterIP", "None") not in ("", "None")


def targets(slices: Iterable[Object], backend: Backend) -> list[Address]:
    """Return where connections to a backend go: ready endpoints; without one, those that terminate but still serve."""
    ready: set[Address] = set()
    terminating: set[Address] = set()
    for item in slices:
        port = _port_of(item, backend)
        if port is None:
            continue
        for endpoint in item.get("endpoints") or []:
            conditions = endpoint.get("conditions", {})
            target = (loopback(endpoint["addresses"][0]), port)
            if conditions.get("ready", True):
                ready.add(target)
            elif conditions.get("serving") and conditions.get("terminating"):
                terminating.add(target)
    return sorted(ready or terminating)


def _port_of(endpoint_slice: Object, backend: Backend) -> int | None:
    """Return the port of a backend's endpoints in an EndpointSlice; None when the slice is not of this backend."""
    meta = endpoint_slice["metadata"]
    if not backend.is_of(meta["namespace"], meta.get("labels", {}).get("kubernetes.io/service-name")):
        return None
    ports = endpoint_slice.get("ports") or []
    return next((port["port"] for port in ports if port.get("name", "") == backend.port_name), None)


class ServiceProxy:
    """Forwards the connections of all Services of a cluster.

    services: the Services by uid, as last seen. lag: seconds until a changed endpoint has an effect.
    """

    def __init__(self, api: Api, lag: float = ENDPOINT_LAG) -> None:
        self.services: dict[str, Object] = {}
        self._api = api
        self._lag = lag
        self._lowest_port = lowest_port()
        self._slices: dict[str, Object] = {}
        self._routes: dict[Address, Backend] = {}
        self._listeners: dict[Address, asyncio.Server] = {}
        self._events = Events(api, "service-proxy", "localhost")
        self._round_robin = itertools.count()
        self._changed = asyncio.Event()
        self._connections: set[asyncio.Task[Any] | None] = set()

    def listen_port(self, port: int) -> int:
        """Return where a port of a cluster address listens."""
        return listen_port(port, self._lowest_port)

    async def run(self) -> None:
        """Follow Services and endpoints until this is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._api.follow("/api/v1/services", self._keep(self.services)))
                slices = "/apis/discovery.k8s.io/v1/endpointslices"
                group.create_task(self._api.follow(slices, self._keep(self._slices, self._lag)))
                while True:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), RETRY_SECONDS)
                    self._changed.clear()
                    await self._sync()
        finally:
            for listener in self._listeners.values():
                listener.close()

    def _keep(self, store: dict[str, Object], lag: float = 0) -> Changed:
        """Return a function that applies changes to a store, `lag` seconds late."""

        def apply(deleted: bool, item: Object) -> None:
            if deleted:
                store.pop(item["metadata"]["uid"], None)
            else:
                store[item["metadata"]["uid"]] = item
            self._changed.set()

        if not lag:
            return apply
        loop = asyncio.get_running_loop()
        return lambda deleted, item: loop.call_later(lag, apply, deleted, item)

    async def _sync(self) -> None:
        """Make the listeners and the statuses of load balancers match the Services."""
        self._routes, refused = routes(self.services.values(), self._lowest_port)
        failures = await self._listen()
        for item in list(self.services.values()):
            meta = item["metadata"]
            addresses = [key for key, backend in self._routes.items() if backend.is_of(meta["namespace"], meta["name"])]
            broken = {address: failures[address] for address in addresses if address in failures}
            broken |= dict.fromkeys(refused.get(meta["uid"], []), "another Service has it")
            await self._report(item, broken)

    async def _listen(self) -> dict[Address, str]:
        """Close and open listeners as the routes say; return the reasons for the addresses that cannot be opened."""
        for address in self._listeners.keys() - self._routes.keys():
            self._listeners.pop(address).close()  # open connections continue
        failures: dict[Address, str] = {}
        for address in self._routes.keys() - self._listeners.keys():
            try:
                self._listeners[address] = await asyncio.start_server(self._server(address), *address)
            except OSError as error:
                failures[address] = os.strerror(error.errno) if error.errno else str(error)
        return failures

    async def _report(self, item: Object, broken: Mapping[Address, str]) -> None:
        """Post an Event for each address that does not listen; write the status of a load balancer when it changed."""
        meta = item["metadata"]
        about = {"apiVersion": "v1", "kind": "Service", "namespace": meta["namespace"], "name": meta["name"]}
        for (host, port), reason in broken.items():
            message = f"nothing listens at {host}:{port}: {reason}"
            await self._events.post(about | {"uid": meta["uid"]}, "NoListener", message, warning=True)
        served = is_balancer(item) and not any(host == LOCALHOST for host, _ in broken)
        ingress = [{"hostname": "localhost"}] if served else None
        reported = item.get("status", {}).get("loadBalancer", {}).get("ingress")
        if [entry.get("hostname") for entry in reported or []] == [entry["hostname"] for entry in ingress or []]:
            return
        body = {"status": {"loadBalancer": {"ingress": ingress}}}
        path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status"
        try:
            await self._api.call("PATCH", path, body, "merge")
        except (ApiError, *UNREACHABLE) as error:
            log.info("cannot write the status of Service %s/%s: %s", meta["namespace"], meta["name"], error)

    def _server(self, address: Address) -> Server:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            self._connections.add(task)  # the event loop holds it only weakly
            try:
                await self._forward(address, reader, writer)
            finally:
                self._connections.discard(task)

        return accept

    async def _forward(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection; reset it when no endpoint accepts it."""
        remote = None
        try:
            backend = self._routes.get(address)
            if backend and (endpoints := targets(self._slices.values(), backend)):
                endpoint = endpoints[next(self._round_robin) % len(endpoints)]
                source, remote = await asyncio.open_connection(*endpoint)
                await asyncio.gather(_pipe(reader, remote), _pipe(source, writer))
        except OSError as error:
            log.info("connection at %s:%s failed: %s", *address, error)
        finally:
            if remote:
                remote.close()
                writer.close()
            else:
                writer.transport.abort()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy from one connection to the other until its end, and pass the end on."""
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
