"""A program for test_alone.py: a cluster with one node and one pod, from local.kube alone.

Arguments: folder of the cluster, folder of the binaries, first port, second octet of Service addresses. It prints what
it saw as JSON: the modules of the project that were imported, the answer of the pod, and what is left at the end.
"""

import asyncio
import json
import sys
import urllib.request
from pathlib import Path

from local.kube import processes
from local.kube.agent import FOLDER_MARK, Agent
from local.kube.components import COMPONENTS
from local.kube.controlplane import ControlPlane
from local.kube.node import register
from local.kube.runtime import StaticRuntime
from local.kube.spec import ClusterSpec, RunSpec

CAPACITY = {"cpu": "2", "memory": "4Gi", "pods": "20"}
WEB = RunSpec(command=[sys.executable, "-m", "http.server", "--bind", "0.0.0.0", "8000"])  # noqa: S104 - the pod's address


async def run_a_pod(cluster: ClusterSpec, plane: ControlPlane) -> dict[str, object]:
    """Run a node and a pod until the pod answers; return what it answers, and the state of both."""

    async def kubectl(*arguments: str) -> str:
        return await asyncio.to_thread(plane.kubectl, *arguments)

    runtime = StaticRuntime(images={"web": WEB})
    async with Agent(cluster, lambda api, name, options: runtime) as agent:
        await register(agent.api, "node-1", CAPACITY)
        await agent.apply({"node-1": {"slot": 0, "capacity": CAPACITY}})
        node = await kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=30s")
        probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1}
        container = {"name": "web", "image": "web", "workingDir": str(cluster.folder / "log"), "readinessProbe": probe}
        overrides = json.dumps({"spec": {"containers": [container]}})
        await kubectl("run", "web", "--image=web", "--overrides", overrides)
        pod = await kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
        ip = await kubectl("get", "pod", "web", "-o", "jsonpath={.status.podIP}")
        url = f"http://127{ip.removeprefix('10')}:8000/"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        return {"node": node.strip(), "pod": pod.strip(), "page": page, "pod_ip": ip}


def main() -> None:
    """Run the cluster, and print what it did."""
    folder, binaries, first_port, service_octet = sys.argv[1:]
    cluster = ClusterSpec(folder=Path(folder), first_port=int(first_port), service_octet=int(service_octet))
    plane = ControlPlane(cluster, Path(binaries))
    plane.start()
    try:
        seen = {"readyz": plane.kubectl("get", "--raw", "/readyz")}
        seen |= asyncio.run(run_a_pod(cluster, plane))
    finally:
        plane.stop()
    seen["components_left"] = sorted(set(COMPONENTS) - set(plane.dead_components()))
    seen["pod_processes_left"] = processes.marked(FOLDER_MARK, str(cluster.folder))
    root = str(Path(__file__).parents[3])
    files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    outside = f"{root}/.venv/"
    seen["modules"] = sorted(
        name for name, file in files.items() if file.startswith(f"{root}/") and not file.startswith(outside)
    )
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
