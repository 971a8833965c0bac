"""A logged-in client of the cluster: server-side apply, rollouts, Jobs run to their end. ClusterHook logs in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException
from airflow.utils.log.logging_mixin import LoggingMixin
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from include.settings import NAMESPACE
from retail_mlops.common.errors import RetailError
from retail_mlops.common.polling import wait_until
from retail_mlops.hooks.rollout_status import Phase, Progress, is_unrecoverable, progress

Deployment = dict[str, Any]
"""As the API server gives it (camelCase)."""
FIELD_MANAGER: Final = "retail-mlops"
LOG_TAIL: Final = 20
"""How many lines of a failed Job's log its error repeats."""
DELETION_POLL: Final = 0.5


class Cluster(LoggingMixin):
    """A logged-in Kubernetes client. Names are in one namespace, the project's, unless a manifest says otherwise."""

    namespace = NAMESPACE

    def __init__(self, api: client.ApiClient, namespace: str = NAMESPACE) -> None:
        super().__init__()
        self.api, self.namespace = api, namespace
        self.apps = client.AppsV1Api(api)
        self.autoscaling = client.AutoscalingV2Api(api)
        self.batch = client.BatchV1Api(api)
        self.core = client.CoreV1Api(api)
        self.networking = client.NetworkingV1Api(api)

    def within(self, namespace: str) -> Cluster:
        """Return the same client for another namespace."""
        return Cluster(self.api, namespace)

    def items(self, listed: Any) -> list[dict[str, Any]]:
        """Return the items of a list as the API server gives them (camelCase)."""
        plain: list[dict[str, Any]] = self.api.sanitize_for_serialization(listed)["items"]
        return plain

    @staticmethod
    def ignore(statuses: tuple[int, ...], call: Callable[..., Any], *arguments: Any) -> None:
        """Call the API; an answer with one of these HTTP statuses is no error."""
        try:
            call(*arguments)
        except ApiException as error:
            if error.status not in statuses:
                raise

    def secret(self, name: str) -> dict[str, str] | None:
        """Return the data of a Secret; None if there is none."""
        try:
            data: dict[str, str] = self.core.read_namespaced_secret(name, self.namespace).data
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        return data

    def evict(self, pod: str) -> str:
        """Ask for the eviction of a pod; return what the API server answers."""
        eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=self.namespace))
        try:
            self.core.create_namespaced_pod_eviction(pod, self.namespace, eviction)
        except ApiException as error:
            if error.status == 404:
                return "gone"
            if error.status == 429:  # refused by a PodDisruptionBudget
                return _message(error)
            raise
        return "evicted"

    # --- apply ---
    def apply(self, manifests: list[dict[str, Any]]) -> None:
        """Apply on the server's side, in the given order. A Deployment keeps its size, which the autoscaler sets."""
        dynamic = DynamicClient(self.api)
        for manifest in manifests:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            if kind == "Deployment" and (live := self._lasting_deployment(name)):
                manifest = manifest | {"spec": manifest["spec"] | {"replicas": live["spec"]["replicas"]}}
            dynamic.resources.get(api_version=manifest["apiVersion"], kind=kind).server_side_apply(
                body=manifest,
                name=name,
                namespace=manifest["metadata"].get("namespace"),
                field_manager=FIELD_MANAGER,
                force_conflicts=True,
            )
            self.log.info("Applied %s %s", kind, name)

    # --- Deployments ---
    def deployment(self, name: str) -> Deployment | None:
        """Return the Deployment as the API server gives it (camelCase); None if there is none."""
        try:
            answer = self.apps.read_namespaced_deployment(name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        deployment: Deployment = self.api.sanitize_for_serialization(answer)
        return deployment

    def delete_deployment(self, name: str, timeout: float = 120) -> None:
        """Delete a Deployment, if there is one, and wait until its pods have drained and ended."""
        self._delete(self.apps.delete_namespaced_deployment, "Deployment", name, timeout)

    def start_deletion(self, name: str) -> None:
        """Delete a Deployment, if there is one, without waiting for its pods; `apply` waits before it makes another."""
        try:
            self.apps.delete_namespaced_deployment(name, self.namespace, propagation_policy="Foreground")
        except ApiException as error:
            if error.status != 404:
                raise

    def _lasting_deployment(self, name: str) -> Deployment | None:
        """Return the Deployment, if there is one that stays; one that is being deleted is waited for."""
        live = self.deployment(name)
        if live and live["metadata"].get("deletionTimestamp"):
            self.log.info("Waiting until the old Deployment %s is gone", name)
            self.delete_deployment(name)
            return None
        return live

    def label_pods(self, deployment: Deployment, labels: Mapping[str, str | None]) -> list[str]:
        """Set labels on a Deployment's present pods, not on their successors; None removes a label.

        Return the names of the pods.
        """
        names = [pod.metadata.name for pod in self._pods(deployment) if pod.metadata.deletion_timestamp is None]
        for name in names:
            self.core.patch_namespaced_pod(name, self.namespace, {"metadata": {"labels": dict(labels)}})
        return names

    def wait_for_rollout(self, name: str, timeout: float, poll: float) -> None:
        """Wait until the rollout is done; raise RetailError as soon as it failed, with what the new pods report.

        It failed when a new pod cannot start, or after the Deployment's own progressDeadlineSeconds; timeout (seconds)
        is for a controller that does not answer.
        """

        def observe() -> tuple[Deployment, Progress]:
            deployment = self.deployment(name)
            if deployment is None:
                raise RetailError(f"Deployment {name} is gone: run this DAG again")
            return deployment, progress(deployment, self._terminating(deployment))

        def pending(observation: tuple[Deployment, Progress]) -> str:
            deployment, now = observation
            if now.phase is Phase.DONE:
                self.log.info("%s: %s", name, now.text)
                return ""
            if now.phase is Phase.FAILED or self._is_unrecoverable(deployment):
                raise RetailError(f"rollout of {name} failed: {now.text}\n{self._diagnosis(deployment)}")
            return f"rollout of {name}: {now.text}"

        def timeout_error(observation: tuple[Deployment, Progress]) -> RetailError:
            deployment, now = observation
            return RetailError(
                f"rollout of {name} not done after {timeout:.0f} s: {now.text}\n{self._diagnosis(deployment)}"
            )

        wait_until(observe, pending, timeout=timeout, poll=poll, timeout_error=timeout_error, log=self.log)

    def _is_unrecoverable(self, deployment: Deployment) -> bool:
        """Return whether one of its new pods will never start."""
        pods = self.api.sanitize_for_serialization(self._pods(deployment))
        return any(is_unrecoverable(pod, deployment["spec"]["template"]) for pod in pods)

    def _diagnosis(self, deployment: Deployment) -> str:
        """Return what the pods of a Deployment that are not ready report: reasons and messages."""
        lines = [line for pod in self._pods(deployment) for line in _pod_problems(pod)]
        return "\n".join(lines) or "no pod reports a reason"

    def _terminating(self, deployment: Deployment) -> int:
        """Return how many pods of a Deployment are being terminated."""
        return sum(pod.metadata.deletion_timestamp is not None for pod in self._pods(deployment))

    def _pods(self, deployment: Deployment) -> list[client.V1Pod]:
        labels = deployment["spec"]["selector"]["matchLabels"]
        return self._pods_with(",".join(f"{key}={value}" for key, value in labels.items()))

    def _pods_with(self, selector: str) -> list[client.V1Pod]:
        pods: list[client.V1Pod] = self.core.list_namespaced_pod(self.namespace, label_selector=selector).items
        return pods

    # --- Jobs ---
    def start_job(self, manifest: dict[str, Any]) -> str:
        """Start a Job, after deleting one of the same name from an earlier try; return its name."""
        name = str(manifest["metadata"]["name"])
        self.delete_job(name)
        self.batch.create_namespaced_job(self.namespace, manifest)
        return name

    def wait_for_job(self, name: str, timeout: float, poll: float) -> None:
        """Wait until the Job has completed, and show its log while it grows.

        RetailError when it failed or took longer than timeout (seconds).
        """
        shown = ""

        def observe() -> client.V1JobStatus:
            nonlocal shown
            status = self.batch.read_namespaced_job(name, self.namespace).status
            log = self.job_log(name) if status.active or status.succeeded or status.failed else ""
            for line in log.removeprefix(shown).splitlines():
                self.log.info("%s", line)
            shown = log
            return status

        def pending(status: client.V1JobStatus) -> str:
            if status.succeeded:
                return ""
            for condition in status.conditions or []:
                if condition.type == "Failed" and condition.status == "True":
                    raise RetailError(f"Job {name} failed ({condition.reason}): {self.log_tail(name)}")
            return f"Job {name}"

        wait_until(
            observe,
            pending,
            timeout=timeout,
            poll=poll,
            timeout_error=lambda _: RetailError(f"Job {name} not done after {timeout:.0f} s: {self.log_tail(name)}"),
            log=self.log,
        )

    def job_log(self, name: str) -> str:
        """Return what the Job's pods have printed so far."""
        return "".join(self._pod_log(pod) or "" for pod in self._job_pods(name))

    def log_tail(self, name: str) -> str:
        """Return the last lines of the Job's pods, or why they have none."""
        lines = []
        for pod in self._job_pods(name):
            if log := self._pod_log(pod):
                lines += log.splitlines()[-LOG_TAIL:]
                continue
            states = [status.state.waiting for status in pod.status.container_statuses or []]
            why = "; ".join(f"{state.reason}: {state.message}" for state in states if state)
            lines.append(f"{pod.metadata.name} is {pod.status.phase} and has no log {why}".rstrip())
        return "\n".join(lines) or "it had no pod"

    def _job_pods(self, name: str) -> list[client.V1Pod]:
        return self._pods_with(f"job-name={name}")

    def _pod_log(self, pod: client.V1Pod) -> str | None:
        """Return the log of a pod; None while its container has not started."""
        try:
            # not preloaded: the client would read a log of one JSON line as an object, and return its repr
            answer = self.core.read_namespaced_pod_log(pod.metadata.name, self.namespace, _preload_content=False)
        except ApiException:
            return None
        return str(answer.data.decode(errors="replace"))

    def delete_job(self, name: str, timeout: float = 60) -> None:
        """Delete a Job, if there is one, with its pods, and wait until it is gone."""
        self._delete(self.batch.delete_namespaced_job, "Job", name, timeout)

    def _delete(self, delete: Callable[..., Any], kind: str, name: str, timeout: float) -> None:
        def still_exists() -> bool:
            try:
                delete(name, self.namespace, propagation_policy="Foreground")
            except ApiException as error:
                if error.status == 404:
                    return False
                raise
            return True

        wait_until(
            still_exists,
            lambda exists: f"deletion of {kind} {name}" if exists else "",
            timeout=timeout,
            poll=DELETION_POLL,
            timeout_error=lambda _: AirflowException(f"{kind} {name} still exists {timeout:.0f} s after its deletion"),
            log=self.log,
        )


def _pod_problems(pod: client.V1Pod) -> Iterator[str]:
    """Yield why a pod is not ready, by its containers' states; without any containers by its conditions."""
    statuses = pod.status.container_statuses or []
    for status in statuses:
        if not status.ready:
            states = [state for state in (status.state, status.last_state) if state]
            for part in (part for state in states for part in (state.waiting, state.terminated) if part):
                yield f"{pod.metadata.name}: {part.reason}: {(part.message or '').strip()}"
    if not statuses:
        messages = [condition.message for condition in pod.status.conditions or [] if condition.message]
        yield f"{pod.metadata.name} is {pod.status.phase}: {'; '.join(messages)}"


def _message(error: ApiException) -> str:
    """Return the API server's own words, with the cause that it names for a refused eviction (which budget)."""
    try:
        status = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.reason)
    causes = [cause["message"] for cause in (status.get("details") or {}).get("causes") or []]
    return " ".join([status.get("message", str(error.reason)), *causes])
