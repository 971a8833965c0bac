"""Server-side apply, waiting for a rollout, and a Job that must succeed, on the EKS cluster.

The Kubernetes provider's resource operators only create (a second run is a 409), know no rollout, and cannot log in
to EKS; its Job operator cannot either.
"""

import json
from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseOperator, Context

from include.settings import settings
from retail_mlops.common.dag_defaults import AIRFLOW
from retail_mlops.common.skipping import skip_task
from retail_mlops.hooks.eks_login import ClusterHook

Manifest = dict[str, Any]
SLACK = 60
"""Seconds that the cluster has to say that a Job's time is up."""


class _ClusterOperator(BaseOperator):
    def __init__(self, *, aws_conn_id: str = AIRFLOW, **options: Any) -> None:
        super().__init__(**options)
        self.aws_conn_id = aws_conn_id

    @property
    def hook(self) -> ClusterHook:
        return ClusterHook(self.aws_conn_id)


def result(log: str) -> dict[str, Any] | None:
    """The last line of a Job's log, if it is a JSON object with a `result`."""
    try:
        found = json.loads(log.strip().rpartition("\n")[2])
    except ValueError:
        return None
    return found if isinstance(found, dict) and "result" in found else None


class ApplyOperator(_ClusterOperator):
    """Applies manifests as the project's field manager; applying the same again changes nothing.

    manifests: a list, or a callable (context, jinja_env) that gives one.
    """

    template_fields = ("manifests",)
    ui_color = "#dbe7f6"

    def __init__(self, *, manifests: list[Manifest] | Callable[..., list[Manifest]], **options: Any) -> None:
        super().__init__(**options)
        self.manifests = manifests

    def execute(self, context: Context) -> None:
        with self.hook.login() as cluster:
            cluster.apply(self.manifests)


class RolloutOperator(_ClusterOperator):
    """Waits until every pod of a Deployment is of its newest version and available; fails as soon as it cannot.

    timeout: seconds; the Deployment's own deadline comes first.
    """

    ui_color = "#dbe7f6"

    def __init__(self, *, deployment: str, timeout: float = 900, **options: Any) -> None:
        super().__init__(**options)
        self.deployment = deployment
        self.timeout = timeout

    def execute(self, context: Context) -> None:
        with self.hook.login() as cluster:
            cluster.wait_for_rollout(self.deployment, self.timeout, min(settings().poll_seconds, 5))


class ClusterJobOperator(_ClusterOperator):
    """Runs a Job to its end and shows its log; killing the task removes the Job.

    A last line of JSON that has a `result` is kept as the XCom `result`, also of a Job that failed.

    manifest: a callable (context, jinja_env) that gives the Job, or a sentence why there is none, which skips the task.
    The Job's own activeDeadlineSeconds is the limit.
    """

    template_fields = ("manifest",)
    ui_color = "#dbe7f6"

    def __init__(self, *, manifest: Manifest | Callable[..., Manifest | str], **options: Any) -> None:
        super().__init__(**options)
        self.manifest = manifest
        self._started: str | None = None

    def execute(self, context: Context) -> None:
        if isinstance(self.manifest, str):
            skip_task(self.manifest)
        timeout = self.manifest["spec"]["activeDeadlineSeconds"] + SLACK
        with self.hook.login() as cluster:
            self._started = cluster.start_job(self.manifest)
            try:
                cluster.wait_for_job(self._started, timeout, min(settings().poll_seconds, 5))
            finally:
                if found := result(cluster.job_log(self._started)):
                    context["ti"].xcom_push("result", found)

    def on_kill(self) -> None:
        if self._started:
            with self.hook.login() as cluster:
                cluster.delete_job(self._started)
