"""Services: TCP from cluster addresses, node ports and load balancers to the ready endpoints, in turn.

A Service of type LoadBalancer listens at 127.0.0.1:<port>. Once all its ports do, its status has the hostname
`localhost`.
"""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.kube.api import UNREACHABLE, Api, Events, Object, loopback
from local.kube.errors import ApiError

log = logging.getLogger(__name__)

ENDPOINT_LAG = 1.5
"""Seconds until an endpoint's change reaches the proxy: load balancers and nodes of a cloud follow late, too."""
RETRY_SECONDS = 10.0
"""How often a port that was not free is tried again."""
MOVED_BY = 10000
LOCALHOST = "127.0.0.1"
UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")

Address = tuple[str, int]


@dataclass(frozen=True)
class Backend:
    """A port of a Service."""

    namespace: str
    service: str
    port_name: str

    def is_of(self, namespace: str, service: str) -> bool:
        return (self.namespace, self.service) == (namespace, service)


def lowest_port() -> int:
    """The first port on which this process may listen."""
    if os.geteuid() == 0:
        return 0
    return int(UNPRIVILEGED.read_text()) if UNPRIVILEGED.exists() else 1024


def listen_port(port: int, lowest: int) -> int:
    """Where a port of a cluster address listens: itself, or MOVED_BY above where only root may listen at it.

    The *_SERVICE_PORT variables of pods give this port.
    """
    return port if port >= lowest else port + MOVED_BY


def is_balancer(service: Object) -> bool:
    return service["spec"]["type"] == "LoadBalancer"


def outside(service: Object) -> list[Address]:
    """The addresses of a Service outside the cluster: its load balancer's, or its node ports."""
    ports = service["spec"].get("ports", [])
    if is_balancer(service):
        return [(LOCALHOST, port["port"]) for port in ports]
    return [(LOCALHOST, port["nodePort"]) for port in ports if port.get("nodePort")]


def routes(services: Iterable[Object], lowest: int) -> tuple[dict[Address, Backend], dict[str, list[Address]]]:
    """What to listen at, and by uid the addresses that an older Service already has."""
    wanted: dict[Address, Backend] = {}
    refused: dict[str, list[Address]] = {}
    for item in sorted(services, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["uid"])):
        meta, spec = item["metadata"], item["spec"]
        if spec.get("clusterIP", "None") in ("", "None"):  # headless, or an ExternalName
            continue
        if (meta["namespace"], meta["name"]) == ("default", "kubernetes"):  # pods are told the API server's own address
            continue
        backends = [Backend(meta["namespace"], meta["name"], port.get("name", "")) for port in spec["ports"]]
        inside = [(loopback(spec["clusterIP"]), listen_port(port["port"], lowest)) for port in spec["ports"]]
        wanted |= zip(inside, backends, strict=True)
        for address, backend in zip(outside(item), backends, strict=False):
            if address in wanted:
                refused.setdefault(meta["uid"], []).append(address)
            else:
                wanted[address] = backend
    return wanted, refused


def targets(slices: Iterable[Object], backend: Backend) -> list[Address]:
    """Where a Service's connections go: ready endpoints; if there is none, those that end but still serve."""
    ready: set[Address] = set()
    ending: set[Address] = set()
    for item in slices:
        meta = item["metadata"]
        if not backend.is_of(meta["namespace"], meta.get("labels", {}).get("kubernetes.io/service-name")):
            continue
        port = next((p["port"] for p in item.get("ports") or [] if p.get("name", "") == backend.port_name), None)
        if port is None:
            continue
        for endpoint in item.get("endpoints") or []:
            state, target = endpoint.get("conditions", {}), (loopback(endpoint["addresses"][0]), port)
            if state.get("ready", True):
                ready.add(target)
            elif state.get("serving") and state.get("terminating"):
                ending.add(target)
    return sorted(ready or ending)


class ServiceProxy:
    def __init__(self, api: Api, lag: float = ENDPOINT_LAG) -> None:
        self.api, self.lag, self.lowest = api, lag, lowest_port()
        self.services: dict[str, Object] = {}
        self.slices: dict[str, Object] = {}
        self.routes: dict[Address, Backend] = {}
        self.listeners: dict[Address, asyncio.Server] = {}
        self.events = Events(api, "service-proxy", "localhost")
        self.turn, self.wake = itertools.count(), asyncio.Event()
        self.connections: set[asyncio.Task | None] = set()

    def listen_port(self, port: int) -> int:
        return listen_port(port, self.lowest)

    def _keep(self, store: dict[str, Object], lag: float = 0) -> Callable[[bool, Object], object]:
        def apply(deleted: bool, item: Object) -> None:
            if deleted:
                store.pop(item["metadata"]["uid"], None)
            else:
                store[item["metadata"]["uid"]] = item
            self.wake.set()

        if not lag:
            return apply
        loop = asyncio.get_running_loop()
        return lambda deleted, item: loop.call_later(lag, apply, deleted, item)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.api.follow("/api/v1/services", self._keep(self.services)))
            slices = "/apis/discovery.k8s.io/v1/endpointslices"
            group.create_task(self.api.follow(slices, self._keep(self.slices, self.lag)))
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), RETRY_SECONDS)
                self.wake.clear()
                await self._sync()

    async def _sync(self) -> None:
        """Makes the listeners and the load balancers' statuses what the Services say."""
        self.routes, refused = routes(self.services.values(), self.lowest)
        for address in self.listeners.keys() - self.routes.keys():
            self.listeners.pop(address).close()  # connections that are there go on
        failures: dict[Address, str] = {}
        for address in self.routes.keys() - self.listeners.keys():
            try:
                self.listeners[address] = await asyncio.start_server(self._server(address), *address)
            except OSError as error:
                failures[address] = os.strerror(error.errno) if error.errno else str(error)
        for item in list(self.services.values()):
            meta = item["metadata"]
            mine = [key for key, backend in self.routes.items() if backend.is_of(meta["namespace"], meta["name"])]
            broken = {address: failures[address] for address in mine if address in failures}
            broken |= dict.fromkeys(refused.get(meta["uid"], []), "another Service has it")
            await self._report(item, broken)

    async def _report(self, item: Object, broken: Mapping[Address, str]) -> None:
        """Events about addresses that do not listen, each with its reason; the status of a load balancer."""
        meta = item["metadata"]
        about = {"apiVersion": "v1", "kind": "Service", "namespace": meta["namespace"], "name": meta["name"]}
        for (host, port), reason in broken.items():
            message = f"nothing listens at {host}:{port}: {reason}"
            await self.events.post(about | {"uid": meta["uid"]}, "NoListener", message, warning=True)
        served = is_balancer(item) and not any(host == LOCALHOST for host, _ in broken)
        ingress = [{"hostname": "localhost"}] if served else None
        shown = item.get("status", {}).get("loadBalancer", {}).get("ingress")
        if [entry.get("hostname") for entry in shown or []] != [entry["hostname"] for entry in ingress or []]:
            body = {"status": {"loadBalancer": {"ingress": ingress}}}
            path = f"/api/v1/namespaces/{meta['namespace']}/services/{meta['name']}/status"
            try:
                await self.api.call("PATCH", path, body, "merge")
            except (ApiError, *UNREACHABLE) as error:
                log.info("status of %s: %s", meta["name"], error)

    def _server(self, address: Address) -> Callable:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            self.connections.add(task)  # the event loop holds it only weakly
            try:
                await self._forward(address, reader, writer)
            finally:
                self.connections.discard(task)

        return accept

    async def _forward(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection; it is reset when no endpoint takes it."""
        remote = None
        try:
            backend = self.routes.get(address)
            if backend and (found := targets(self.slices.values(), backend)):
                source, remote = await asyncio.open_connection(*found[next(self.turn) % len(found)])
                await asyncio.gather(_pipe(reader, remote), _pipe(source, writer))
        except OSError as error:
            log.info("connection at %s:%s: %s", *address, error)
        finally:
            if remote:
                remote.close()
                writer.close()
            else:
                writer.transport.abort()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
