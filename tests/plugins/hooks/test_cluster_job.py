"""A Job of the cluster as a task: its log while it grows, its verdict kept, its end told."""

import json
import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.eks_cluster import Cluster
from retail_mlops.operators import kubernetes as module
from retail_mlops.operators.kubernetes import ClusterJobOperator, result

VERDICT = {"event": "bake", "result": "failed", "reason": "it is slow"}
FAILED = SimpleNamespace(type="Failed", status="True", reason="BackoffLimitExceeded")


class Job(Cluster):
    """A Job whose log and status are those of `steps`, one a look."""

    log = logging.getLogger("retail_mlops.job")

    def __init__(self, *steps):
        self.steps, self.look, self.started = steps, -1, None
        self.batch = SimpleNamespace(read_namespaced_job=lambda *_: SimpleNamespace(status=self._status()))

    def _status(self):
        self.look = min(self.look + 1, len(self.steps) - 1)
        _, state = self.steps[self.look]
        return SimpleNamespace(
            active=state == "active", succeeded=state == "succeeded", failed=state == "failed",
            conditions=[FAILED] if state == "failed" else [],
        )  # fmt: skip

    def job_log(self, name):
        return self.steps[self.look][0]

    def log_tail(self, name):
        return self.job_log(name).splitlines()[-1]

    def start_job(self, manifest):
        self.started = manifest["metadata"]["name"]
        return self.started


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr("retail_mlops.common.polling.time.sleep", lambda _seconds: None)

    def run_it(job):
        @contextmanager
        def login(_hook):
            yield job

        monkeypatch.setattr(module.ClusterHook, "login", login)
        manifest = {"metadata": {"name": "j"}, "spec": {"activeDeadlineSeconds": 60}}
        operator, pushed = ClusterJobOperator(task_id="bake", manifest=manifest), {}
        try:
            operator.execute({"ti": SimpleNamespace(xcom_push=pushed.__setitem__)})
        finally:
            job.pushed = pushed
        return job

    return run_it


def test_log_is_shown_once_while_it_grows(run, caplog):
    run(Job(("", "active"), ("one\n", "active"), ("one\ntwo\n", "active"), ('one\ntwo\n{"result": 1}\n', "succeeded")))
    assert [line for line in caplog.messages if line in ("one", "two")] == ["one", "two"]


def test_verdict_is_kept_also_of_a_job_that_failed(run):
    job = Job((f"starts\n{json.dumps(VERDICT)}\n", "failed"))
    with pytest.raises(RetailError, match=r"Job j failed.*it is slow"):
        run(job)
    assert job.pushed == {"result": VERDICT}


def test_nothing_to_run_is_a_skipped_task_with_its_reason():
    with pytest.raises(AirflowSkipException, match=r"^bake_seconds is 0$"):
        ClusterJobOperator(task_id="bake", manifest="bake_seconds is 0").execute({})


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (json.dumps(VERDICT), VERDICT),
        (f"a line\n{json.dumps(VERDICT)}\n\n", VERDICT),
        ('{"event": "bake"}\n', None),
        ('["result"]\n', None),
        ("Traceback\n", None),
        ("", None),
    ],
)
def test_verdict_is_the_last_line_that_has_a_result(log, found):
    assert result(log) == found
