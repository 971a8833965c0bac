"""`python -S -m local.stack.containers.health`: the health check of a container; exit status 0 when its process works.

Only a small part of the standard library is used: it runs every few seconds in each container. When the gateway was
killed, its new container has another network. Containers that still share the old one are ended here, and Docker
starts them again.
"""

import json
import os
import signal
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

HEARTBEATS = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}

ASKED = Path("/tmp/cut-off")  # nosec B108 # noqa: S108 - a tmpfs, which is new at every start


def cut_off() -> bool:
    """Return whether only the loopback interface is left."""
    return os.listdir("/sys/class/net") == ["lo"]  # noqa: PTH208 - pathlib costs a tenth of a second


def end() -> None:
    """Ask process 1 to end, and kill everything at the next check: Airflow cannot stop without its database."""
    if ASKED.exists():
        os.kill(-1, signal.SIGKILL)
    ASKED.touch()
    os.kill(1, signal.SIGTERM)


def started() -> float:
    """Return when process 1 was started, in seconds since the epoch."""
    ticks = int(Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


def _get(port: str, path: str) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(f"http://127.0.0.1:{port}{path}", timeout=15) as answer:
        return bytes(answer.read())


def healthy(role: str) -> bool:
    """Return whether the process of this role works. Raise OSError or ValueError when it does not answer."""
    airflow = os.environ.get("LOCAL_AIRFLOW_PORT", "8080")
    aws = os.environ.get("LOCAL_AWS_PORT", "4566")
    if role == "gateway":
        return True
    if role == "aws":
        return (Path(os.environ["LOCAL_STATE"]) / "aws" / "ready").exists() and bool(_get(aws, "/_ministack/health"))
    if role == "api-server":
        return bool(_get(airflow, "/execution/health"))
    part, key = HEARTBEATS[role]
    report = json.loads(_get(airflow, "/api/v2/monitor/health"))[part]
    beat = report.get(key)
    return report["status"] == "healthy" and bool(beat) and datetime.fromisoformat(beat).timestamp() >= started()


def main() -> int:
    """Check the role that the variable CONTAINER_ROLE names."""
    role = os.environ["CONTAINER_ROLE"]
    if role != "gateway" and cut_off():
        end()
        return 1
    try:
        return 0 if healthy(role) else 1
    except (OSError, ValueError) as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
