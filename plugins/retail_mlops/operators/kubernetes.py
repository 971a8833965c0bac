"""Operators for the EKS cluster: server-side apply, waiting for a rollout, and a Job that must succeed.

The Kubernetes provider's resource operators only create (a second run is a 409), know no rollout, and cannot log in
to EKS; its Job operator cannot either.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from airflow.sdk import BaseOperator, Context

from include.settings import settings
from retail_mlops.common.dag_defaults import AIRFLOW
from retail_mlops.common.skipping import skip_task
from retail_mlops.hooks.eks_login import ClusterHook

Manifest = dict[str, Any]
DEADLINE_MARGIN: Final = 60
"""Seconds that the cluster has to report that a Job's deadline is over."""
MAX_POLL: Final = 5
COLOR: Final = "#dbe7f6"


class _ClusterOperator(BaseOperator):
    """Logs in to the cluster with a connection."""

    def __init__(self, *, aws_conn_id: str = AIRFLOW, **options: Any) -> None:
        super().__init__(**options)
        self.aws_conn_id = aws_conn_id

    @property
    def hook(self) -> ClusterHook:
        return ClusterHook(self.aws_conn_id)


def result(log: str) -> dict[str, Any] | None:
    """Return the last line of a Job's log, if it is a JSON object with a `result`."""
    try:
        last = json.loads(log.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return last if isinstance(last, dict) and "result" in last else None


class ApplyOperator(_ClusterOperator):
    """Applies manifests as the project's field manager; applying the same again changes nothing.

    manifests: a callable (context, jinja_env) that returns them; Airflow calls it before `execute`.
    """

    template_fields = ("manifests",)
    ui_color = COLOR

    def __init__(self, *, manifests: Callable[..., list[Manifest]], **options: Any) -> None:
        super().__init__(**options)
        self.manifests: Any = manifests

    def execute(self, context: Context) -> None:
        with self.hook.login() as cluster:
            cluster.apply(self.manifests)


class RolloutOperator(_ClusterOperator):
    """Waits until every pod of a Deployment is of its newest version and available; fails as soon as it cannot be.

    timeout: seconds; the Deployment's own deadline comes first.
    """

    ui_color = COLOR

    def __init__(self, *, deployment: str, timeout: float = 900, **options: Any) -> None:
        super().__init__(**options)
        self.deployment = deployment
        self.timeout = timeout

    def execute(self, context: Context) -> None:
        with self.hook.login() as cluster:
            cluster.wait_for_rollout(self.deployment, self.timeout, min(settings().poll_seconds, MAX_POLL))


class ClusterJobOperator(_ClusterOperator):
    """Runs a Job to its end and shows its log; killing the task deletes the Job.

    A last line of JSON that has a `result` is kept as the XCom `result`, also of a Job that failed.

    manifest: a Job, or a callable (context, jinja_env) that returns it, or the reason why there is none, which skips
    the task; Airflow calls it before `execute`. The Job's own activeDeadlineSeconds is the timeout.
    """

    template_fields = ("manifest",)
    ui_color = COLOR

    def __init__(self, *, manifest: Manifest | str | Callable[..., Manifest | str], **options: Any) -> None:
        super().__init__(**options)
        self.manifest: Any = manifest
        self._started: str | None = None

    def execute(self, context: Context) -> None:
        if isinstance(self.manifest, str):
            skip_task(self.manifest)
        timeout = self.manifest["spec"]["activeDeadlineSeconds"] + DEADLINE_MARGIN
        with self.hook.login() as cluster:
            self._started = cluster.start_job(self.manifest)
            try:
                cluster.wait_for_job(self._started, timeout, min(settings().poll_seconds, MAX_POLL))
            finally:
                if verdict := result(cluster.job_log(self._started)):
                    context["ti"].xcom_push("result", verdict)

    def on_kill(self) -> None:
        if self._started:
            with self.hook.login() as cluster:
                cluster.delete_job(self._started)
