"""Show what runs of the local stack, on which ports: `make status`."""

import argparse
import contextlib
import subprocess
from collections.abc import Iterator

import psutil

from cli.console import console, print_table
from cli.stack import open_stack
from cli.up import print_addresses
from local.stack import config, supervisor

HEADINGS = ("service", "state", "pid", "restarts", "port", "memory")


def main(_: argparse.Namespace) -> int:
    """Print what runs; the exit status is 1 unless all of it is healthy."""
    stack = open_stack()
    alive = supervisor.running(stack.state) is not None
    print_table(_rows(stack, alive), HEADINGS)
    if not alive:
        console.print("down: `make up` starts it")
        return 1
    if not config.on_aws():
        console.print(f"cluster    {_nodes(stack)}")
    print_addresses(stack)
    return 0 if is_healthy(stack) else 1


def is_healthy(stack: config.LocalStack) -> bool:
    """Return whether the local stack is up and every service of it runs."""
    if supervisor.running(stack.state) is None:
        return False
    return all(service["state"] == "running" for service in supervisor.read_status(stack.state).values())


def _rows(stack: config.LocalStack, alive: bool) -> Iterator[tuple[str, ...]]:
    for name, service in supervisor.read_status(stack.state).items():
        pid = service["pid"] if alive else None
        memory = f"{_memory(pid) / 2**20:.0f} MB" if pid and name != "supervisor" else ""
        port = service.get("port")
        restarts = service.get("restarts", 0)
        state = service["state"] if alive else "down"
        yield name, state, str(pid or ""), str(restarts or ""), str(port or ""), memory


def _memory(pid: int) -> int:
    """Return the bytes of a process and its descendants; shared pages are divided among their users if possible."""
    total = 0
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid)
        for process in [leader, *leader.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                total += getattr(memory, "pss", memory.uss)
    return total


def _nodes(stack: config.LocalStack) -> str:
    """Return the cluster's nodes and their states as a line of text."""
    kubeconfig = stack.state / "kubeconfig"
    if not kubeconfig.exists():
        return "none"
    from local.stack import kube_cluster

    if not (binaries := kube_cluster.find_binaries()):
        return "unknown: the programs of Kubernetes are not built; `make kube` builds them"
    kubectl = [str(binaries / "kubectl"), "--kubeconfig", str(kubeconfig), "--request-timeout=5s"]
    done = subprocess.run([*kubectl, "get", "nodes", "--no-headers"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"does not answer: {done.stderr.strip()}"
    return ", ".join(" ".join(line.split()[:2]) for line in done.stdout.splitlines()) or "no nodes"
