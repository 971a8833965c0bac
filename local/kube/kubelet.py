"""The endpoint of a node that the API server and metrics-server use: logs and resource metrics, over mutual TLS."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import psutil
from aiohttp import web

from local.kube import sessions
from local.kube.container import Container

if TYPE_CHECKING:
    from local.kube.node import Node

FOLLOW_SECONDS = 0.2


@contextlib.asynccontextmanager
async def serve(node: Node) -> AsyncIterator[None]:
    async def logs(request: web.Request) -> web.StreamResponse:
        return await send_log(node, request)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=await asyncio.to_thread(resource_metrics, node))

    async def health(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
    app.router.add_get("/metrics/resource", metrics)
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", node.place.port, ssl_context=node.api.tls_server).start()
        yield
    finally:
        await runner.cleanup()


def find(node: Node, namespace: str, pod_name: str, name: str) -> Container:
    """A container of the node; 404 if it has none of that name."""
    for pod in node.pods.values():
        if (pod.namespace, pod.name) == (namespace, pod_name):
            for container in pod.all:
                if container.name == name:
                    return container
    raise web.HTTPNotFound(text=f"this node has no container {name} of {namespace}/{pod_name}")


def tail(data: bytes, lines: int | None) -> bytes:
    """The last lines of a log; all of it for None."""
    if lines is None:
        return data
    return b"".join(data.splitlines(keepends=True)[-lines:]) if lines else b""


async def send_log(node: Node, request: web.Request) -> web.StreamResponse:
    container = find(node, *(request.match_info[part] for part in ("namespace", "pod", "container")))
    path, query = container.log_file(request.query.get("previous") == "true"), request.query
    lines = int(query["tailLines"]) if "tailLines" in query else None
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    if not path.exists():
        return response
    with path.open("rb") as stream, contextlib.suppress(ConnectionError):
        await response.write(tail(stream.read(), lines))
        running = query.get("follow") == "true"
        while running:
            running = "running" in container.state  # asked before the read: what is written until the end is sent
            await response.write(stream.read())
            await asyncio.sleep(FOLLOW_SECONDS if running else 0)
    return response


def resource_metrics(node: Node) -> str:
    """The metrics that metrics-server reads, in the Prometheus format: CPU seconds and bytes, each with its time."""
    stamp, cpu, memory = int(time.time() * 1000), psutil.cpu_times(), psutil.virtual_memory()
    lines = [
        f"node_cpu_usage_seconds_total {cpu.user + cpu.nice + cpu.system} {stamp}",
        f"node_memory_working_set_bytes {memory.total - memory.available} {stamp}",
    ]
    running = {c.leader: (pod, c) for pod in list(node.pods.values()) for c in pod.all if c.leader}
    for leader, used in sessions.usage({leader for leader in running if leader}).items():
        pod, container = running[leader]
        container.cpu = max(container.cpu, used.cpu)
        tag = f'{{container="{container.name}",namespace="{pod.namespace}",pod="{pod.name}"}}'
        lines += [
            f"container_cpu_usage_seconds_total{tag} {container.cpu} {stamp}",
            f"container_memory_working_set_bytes{tag} {used.memory} {stamp}",
            f"container_start_time_seconds{tag} {container.began}",
        ]
    return "\n".join(lines) + "\n"
