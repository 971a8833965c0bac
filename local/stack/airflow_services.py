"""The four processes of Airflow: how each is started and when it is healthy."""

import json
import subprocess
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Any

from local.stack import config
from local.stack.airflow_environment import BIN, airflow
from local.stack.postgres import Postgres

COMMANDS = {
    "api-server": [str(BIN / "airflow"), "api-server"],
    "scheduler": [str(BIN / "python"), "-m", "local.stack.airflow_scheduler"],
    "dag-processor": [str(BIN / "airflow"), "dag-processor"],
    "triggerer": [str(BIN / "airflow"), "triggerer", "--skip-serve-logs"],  # see local/stack/airflow_logs.py
}
_HEARTBEATS = {
    "scheduler": ("scheduler", "latest_scheduler_heartbeat"),
    "dag-processor": ("dag_processor", "latest_dag_processor_heartbeat"),
    "triggerer": ("triggerer", "latest_triggerer_heartbeat"),
}


def _get(stack: config.LocalStack, path: str, timeout: float) -> Any:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(stack.airflow_url + path, timeout=timeout) as answer:
        return json.loads(answer.read())


def healthy(stack: config.LocalStack, name: str, started: float) -> bool:
    """Return whether a process that was started at `started` (seconds since the epoch) works."""
    try:
        if name == "api-server":
            # The execution API is built at its first call, which would otherwise be the first task's.
            _get(stack, "/execution/health", timeout=15)
            return True
        part, key = _HEARTBEATS[name]
        report = _get(stack, "/api/v2/monitor/health", timeout=3)[part]
    except (OSError, ValueError):
        return False
    # The heartbeat of a predecessor counts as healthy for another half a minute.
    beat = report.get(key)
    return report["status"] == "healthy" and beat is not None and datetime.fromisoformat(beat).timestamp() >= started


class Migration:
    """`airflow db migrate`, run when the environment is another than at the last time."""

    def __init__(self, stack: config.LocalStack):
        self.stack = stack
        self.marker = Postgres(stack).data / "airflow-schema"  # beside the data: removed together
        self.version = (config.ROOT / ".venv/airflow/lock.sha256").read_text()

    @property
    def needed(self) -> bool:
        return not self.marker.exists() or self.marker.read_text() != self.version

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            return subprocess.Popen(
                [BIN / "airflow", "db", "migrate"],
                cwd=config.ROOT,
                env=airflow(self.stack),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def done(self) -> None:
        self.marker.write_text(self.version)
