"""A small client of Airflow's REST API, as the user `admin`: what the commands and the tests need.

docs/decisions/0016-own-clients.md says why it is not apache-airflow-client.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from cli.errors import CommandError
from local.stack import config
from local.stack.airflow_environment import USER, load_secrets
from local.stack.waiting import wait_until

Document = dict[str, Any]
"""A JSON object of Airflow."""

FINISHED = ("success", "failed")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AirflowError(CommandError):
    """Says what Airflow answered, or that it does not answer."""


def _quoted(part: str) -> str:
    return urllib.parse.quote(part, safe="")


def _message(body: bytes) -> str:
    """Return Airflow's own message of an error: a text, or a list of what is wrong with which field."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:500]
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in detail)
    return detail if isinstance(detail, str) else json.dumps(detail)


class Airflow:
    """The REST API of a local stack's Airflow. Every method raises AirflowError with Airflow's message."""

    def __init__(self, stack: config.LocalStack, timeout: float = 60):
        self.stack = stack
        self.timeout = timeout
        self._token = ""

    # --- transport ---
    def _send(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.stack.airflow_url + path, data, headers, method=method)
        with _OPENER.open(request, timeout=self.timeout) as response:
            return json.loads(response.read() or b"null")

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Return the JSON answer to a call below /api/v2; None for an empty one."""
        path = f"/api/v2{path}" + (f"?{urllib.parse.urlencode(query, doseq=True)}" if query else "")
        try:
            return self._send_logged_in(method, path, body)
        except urllib.error.HTTPError as error:
            raise AirflowError(f"{method} {path}: {error.code}, {_message(error.read())}") from error
        except OSError as error:
            raise self._unreachable(error) from error

    def _send_logged_in(self, method: str, path: str, body: Any) -> Any:
        if not self._token:
            self.token()
        try:
            return self._send(method, path, body)
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            self.token()  # the old one has expired
            return self._send(method, path, body)

    def _unreachable(self, error: OSError) -> AirflowError:
        return AirflowError(f"Airflow does not answer at {self.stack.airflow_url} ({error}): make status")

    def _all(self, path: str, name: str, **query: Any) -> list[Document]:
        """Return every page of a collection as one list."""
        items: list[Document] = []
        while True:
            page = self.call("GET", path, limit=100, offset=len(items), **query)
            items += page[name]
            if not page[name] or len(items) >= page["total_entries"]:
                return items

    def token(self) -> str:
        """Return a fresh API token of the user `admin`."""
        self._token = ""
        login = {"username": USER, "password": load_secrets(self.stack).password}
        try:
            self._token = self._send("POST", "/auth/token", login)["access_token"]
        except urllib.error.HTTPError as error:
            raise AirflowError(f"login as {USER} refused: {error.code}, {_message(error.read())}") from error
        except OSError as error:
            raise self._unreachable(error) from error
        return self._token

    # --- DAGs ---
    def health(self) -> Document:
        """Return the health of Airflow's processes."""
        health: Document = self.call("GET", "/monitor/health")
        return health

    def dag_ids(self) -> list[str]:
        """Return the ids of the DAGs that Airflow has read."""
        return sorted(dag["dag_id"] for dag in self._all("/dags", "dags", exclude_stale="true"))

    def import_errors(self) -> dict[str, str]:
        """Return DAG file → why it could not be imported."""
        return {error["filename"]: error["stack_trace"] for error in self._all("/importErrors", "import_errors")}

    def unpause(self, dag: str) -> None:
        """Let a DAG run."""
        self.call("PATCH", f"/dags/{_quoted(dag)}", {"is_paused": False})

    # --- runs ---
    def trigger(self, dag: str, conf: Document | None = None, partition_key: str | None = None) -> str:
        """Start a run now and return its id."""
        body = {"logical_date": None, "conf": conf or {}, "partition_key": partition_key}
        return str(self.call("POST", f"/dags/{_quoted(dag)}/dagRuns", body)["dag_run_id"])

    def run(self, dag: str, run_id: str) -> Document:
        """Return a run."""
        run: Document = self.call("GET", self._run_path(dag, run_id))
        return run

    def runs(self, dag: str) -> list[Document]:
        """Return all runs of a DAG, newest first."""
        return self._all(f"/dags/{_quoted(dag)}/dagRuns", "dag_runs", order_by="-run_after")

    def wait(
        self, dag: str, run_id: str, timeout: float, progress: Callable[[Document], None] = lambda run: None
    ) -> Document:
        """Return the run when it has succeeded or failed; `progress` gets it twice a second until then.

        Raise AirflowError after `timeout` seconds.
        """
        state = ""

        def finished() -> Document | None:
            nonlocal state
            run = self.run(dag, run_id)
            state = run["state"]
            if state in FINISHED:
                return run
            progress(run)
            return None

        def error() -> AirflowError:
            url = f"{self.stack.airflow_url}/dags/{dag}/runs/{run_id}"
            return AirflowError(f"{dag} is {state} after {timeout:g} s: {url}")

        return wait_until(finished, timeout, every=0.5, error=error)

    # --- tasks ---
    def states(self, dag: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        return {task["task_id"]: task["state"] for task in self.task_instances(dag, run_id)}

    def task_instances(self, dag: str, run_id: str) -> list[Document]:
        """Return the task instances of a run."""
        return self._all(self._run_path(dag, run_id) + "/taskInstances", "task_instances")

    def log(self, dag: str, run_id: str, task: str, try_number: int | None = None, map_index: int = -1) -> str:
        """Return the lines of a task's log: of its last try, or of `try_number`."""
        path = f"{self._run_path(dag, run_id)}/taskInstances/{_quoted(task)}"
        if try_number is None:
            mapped = f"/{map_index}" if map_index >= 0 else ""
            try_number = self.call("GET", path + mapped)["try_number"]
        answer = self.call("GET", f"{path}/logs/{try_number}", map_index=map_index, full_content="true")
        return "\n".join(_log_line(line) for line in answer["content"])

    def questions(self, dag: str, run_id: str) -> list[Document]:
        """Return what the run's tasks ask people, answered or not."""
        return self._all(self._run_path(dag, run_id) + "/hitlDetails", "hitl_details")

    def answer(self, dag: str, run_id: str, task: str, option: str, params: Document | None = None) -> None:
        """Answer a task's question, as a click in Required Actions does."""
        path = f"{self._run_path(dag, run_id)}/taskInstances/{_quoted(task)}/-1/hitlDetails"
        self.call("PATCH", path, {"chosen_options": [option], "params_input": params or {}})

    @staticmethod
    def _run_path(dag: str, run_id: str) -> str:
        return f"/dags/{_quoted(dag)}/dagRuns/{_quoted(run_id)}"


def _log_line(line: str | Document) -> str:
    """Return a line of a log: time, level, event and reason (of a skip), and the trace of an exception below it."""
    if isinstance(line, str):
        return line
    head = " ".join(str(line[key]) for key in ("timestamp", "level", "event", "reason") if line.get(key))
    traces = [
        f"  {frame['filename']}:{frame['lineno']} in {frame['name']}"
        for error in line.get("error_detail") or []
        for frame in error.get("frames", [])
    ]
    raised = [f"  {error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]
    return "\n".join([head, *traces, *raised])
