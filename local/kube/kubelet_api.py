"""The endpoint of a node that the API server and metrics-server use: logs and resource metrics, over mutual TLS."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import psutil
from aiohttp import web

from local.kube import sessions
from local.kube.container import Container
from local.kube.pod import Pod

FOLLOW_SECONDS = 0.2


@contextlib.asynccontextmanager
async def serve(pods: Mapping[str, Pod], port: int, tls: ssl.SSLContext) -> AsyncIterator[None]:
    """Serve the logs and metrics of these pods at a port of 127.0.0.1, while the context is open."""
    handlers = _Handlers(pods)
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", handlers.logs)
    app.router.add_get("/metrics/resource", handlers.metrics)
    app.router.add_get("/healthz", handlers.health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class _Handlers:
    pods: Mapping[str, Pod]

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=await asyncio.to_thread(resource_metrics, self.pods))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """Send a log: `previous`, `tailLines` and `follow` as kubectl asks for them."""
        query = request.query
        container = find(self.pods, *(request.match_info[part] for part in ("namespace", "pod", "container")))
        path = container.log_file(query.get("previous") == "true")
        lines = int(query["tailLines"]) if "tailLines" in query else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        if not path.exists():
            return response
        with path.open("rb") as stream, contextlib.suppress(ConnectionError):
            await response.write(tail(stream.read(), lines))
            running = query.get("follow") == "true"
            while running:
                running = "running" in container.state  # read before the log: what is written until the end is sent
                await response.write(stream.read())
                await asyncio.sleep(FOLLOW_SECONDS if running else 0)
        return response


def find(pods: Mapping[str, Pod], namespace: str, pod_name: str, name: str) -> Container:
    """Return a container of the node; 404 if it has none of that name."""
    for pod in pods.values():
        if (pod.namespace, pod.name) == (namespace, pod_name):
            for container in pod.all_containers:
                if container.name == name:
                    return container
    raise web.HTTPNotFound(text=f"this node has no container {name} of {namespace}/{pod_name}")


def tail(data: bytes, lines: int | None) -> bytes:
    """Return the last lines of a log; all of it for None."""
    if lines is None:
        return data
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""


def resource_metrics(pods: Mapping[str, Pod]) -> str:
    """Return what metrics-server reads, in the Prometheus format: CPU seconds and bytes, each with its time."""
    stamp = int(time.time() * 1000)
    cpu = psutil.cpu_times()
    memory = psutil.virtual_memory()
    lines = [
        f"node_cpu_usage_seconds_total {cpu.user + cpu.nice + cpu.system} {stamp}",
        f"node_memory_working_set_bytes {memory.total - memory.available} {stamp}",
    ]
    running = {c.leader: (pod, c) for pod in list(pods.values()) for c in pod.all_containers if c.leader}
    for leader, used in sessions.usage({leader for leader in running if leader}).items():
        pod, container = running[leader]
        container.cpu = max(container.cpu, used.cpu)
        labels = f'{{container="{container.name}",namespace="{pod.namespace}",pod="{pod.name}"}}'
        lines += [
            f"container_cpu_usage_seconds_total{labels} {container.cpu} {stamp}",
            f"container_memory_working_set_bytes{labels} {used.memory} {stamp}",
            f"container_start_time_seconds{labels} {container.start_time}",
        ]
    return "\n".join(lines) + "\n"
