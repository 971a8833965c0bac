"""The cluster as tasks need it: server-side apply, rollout, a Job run to its end. Log in with a ClusterHook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from airflow.sdk.exceptions import AirflowException
from airflow.utils.log.logging_mixin import LoggingMixin
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from include.settings import NAMESPACE
from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.rollout_status import Phase, is_hopeless, progress

FIELD_MANAGER: Final = "retail-mlops"
LAST_LINES: Final = 20
"""How much of a failed Job's log its error repeats."""


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
        """Server-side apply, in the given order. A Deployment keeps the size it has: that is the autoscaler's."""
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
            self.log.info("applied %s %s", kind, name)

    # --- Deployments ---
    def deployment(self, name: str) -> dict[str, Any] | None:
        """The Deployment as the API server gives it; None if there is none."""
        try:
            found = self.apps.read_namespaced_deployment(name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        return self.api.sanitize_for_serialization(found)

    def delete_deployment(self, name: str, timeout: float = 120) -> None:
        """Removes a Deployment and waits until its pods have drained and ended; there need not be one."""
        self._delete(self.apps.delete_namespaced_deployment, "Deployment", name, timeout)

    def start_deletion(self, name: str) -> None:
        """Lets the pods of a Deployment drain and end, without waiting; `apply` waits before it makes the next one.

        There need not be one.
        """
        try:
            self.apps.delete_namespaced_deployment(name, self.namespace, propagation_policy="Foreground")
        except ApiException as error:
            if error.status != 404:
                raise

    def _lasting_deployment(self, name: str) -> dict[str, Any] | None:
        """The Deployment, if there is one that stays: one that is being deleted is waited for."""
        live = self.deployment(name)
        if live and live["metadata"].get("deletionTimestamp"):
            self.log.info("Waiting until the old Deployment %s is gone", name)
            self.delete_deployment(name)
            return None
        return live

    def label_pods(self, deployment: dict[str, Any], labels: dict[str, str | None]) -> list[str]:
        """Gives the labels to the pods that a Deployment has now, not to their successors, or takes those that are None
        away; names of the pods."""
        names = [pod.metadata.name for pod in self._pods(deployment) if pod.metadata.deletion_timestamp is None]
        for name in names:
            self.core.patch_namespaced_pod(name, self.namespace, {"metadata": {"labels": labels}})
        return names

    def wait_for_rollout(self, name: str, timeout: float, poll: float) -> None:
        """Returns when the rollout is done; RetailError as soon as it failed, with what the new pods say.

        It failed when a new pod cannot start, or after the Deployment's own progressDeadlineSeconds; timeout (seconds)
        is for a controller that does not answer.
        """
        until, said = time.monotonic() + timeout, ""
        while time.monotonic() < until:
            found = self.deployment(name)
            if not found:
                raise RetailError(f"Deployment {name} is gone")
            now = progress(found, self.ending(found))
            if now.text != said:
                self.log.info("%s: %s", name, said := now.text)
            if now.phase is Phase.DONE:
                return
            if now.phase is Phase.FAILED or self.is_hopeless(found):
                raise RetailError(f"rollout of {name} failed: {now.text}\n{self.trouble(found)}")
            time.sleep(poll)
        raise RetailError(f"rollout of {name} not done after {timeout:.0f} s: {said}\n{self.trouble(found)}")

    def is_hopeless(self, deployment: dict[str, Any]) -> bool:
        """Whether one of its new pods will never start."""
        pods = self.api.sanitize_for_serialization(self._pods(deployment))
        return any(is_hopeless(pod, deployment["spec"]["template"]) for pod in pods)

    def trouble(self, deployment: dict[str, Any]) -> str:
        """What the pods of a Deployment that are not ready say: reasons and last words."""
        lines = []
        for pod in self._pods(deployment):
            for status in pod.status.container_statuses or []:
                if status.ready:
                    continue
                for state in (status.state, status.last_state):
                    for part in (state.waiting, state.terminated) if state else ():
                        if part:
                            lines.append(f"{pod.metadata.name}: {part.reason}: {(part.message or '').strip()}")
            if not pod.status.container_statuses:
                reasons = [condition.message for condition in pod.status.conditions or [] if condition.message]
                lines.append(f"{pod.metadata.name} is {pod.status.phase}: {'; '.join(reasons)}")
        return "\n".join(lines) or "no pod says why"

    def ending(self, deployment: dict[str, Any]) -> int:
        """How many pods of a Deployment are being terminated."""
        return sum(pod.metadata.deletion_timestamp is not None for pod in self._pods(deployment))

    def _pods(self, deployment: dict[str, Any]) -> list[client.V1Pod]:
        selector = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
        return self.core.list_namespaced_pod(self.namespace, label_selector=selector).items

    # --- Jobs ---
    def start_job(self, manifest: dict[str, Any]) -> str:
        """Starts a Job; one of the same name, of an earlier try, is removed first. Returns its name."""
        name = manifest["metadata"]["name"]
        self.delete_job(name)
        self.batch.create_namespaced_job(self.namespace, manifest)
        return name

    def wait_for_job(self, name: str, timeout: float, poll: float) -> None:
        """Returns when the Job completed; RetailError when it failed or took longer than timeout (s).

        Its log is shown while it grows.
        """
        until, said = time.monotonic() + timeout, ""
        while True:
            status = self.batch.read_namespaced_job(name, self.namespace).status
            log = self.job_log(name) if status.active or status.succeeded or status.failed else ""
            for line in log.removeprefix(said).splitlines():
                self.log.info("%s", line)
            said = log
            if status.succeeded:
                return
            for condition in status.conditions or []:
                if condition.type == "Failed" and condition.status == "True":
                    raise RetailError(f"Job {name} failed ({condition.reason}): {self.last_words(name)}")
            if time.monotonic() > until:
                raise RetailError(f"Job {name} not done after {timeout:.0f} s: {self.last_words(name)}")
            time.sleep(poll)

    def job_log(self, name: str) -> str:
        """What the Job's pods have printed so far."""
        return "".join(self._pod_log(pod) or "" for pod in self._job_pods(name))

    def last_words(self, name: str) -> str:
        """Last lines of the Job's pods, or why they have none."""
        lines = []
        for pod in self._job_pods(name):
            if log := self._pod_log(pod):
                lines += log.splitlines()[-LAST_LINES:]
                continue
            states = [status.state.waiting for status in pod.status.container_statuses or []]
            why = "; ".join(f"{state.reason}: {state.message}" for state in states if state)
            lines.append(f"{pod.metadata.name} is {pod.status.phase} and has no log {why}".rstrip())
        return "\n".join(lines) or "it had no pod"

    def _job_pods(self, name: str) -> list[client.V1Pod]:
        return self.core.list_namespaced_pod(self.namespace, label_selector=f"job-name={name}").items

    def _pod_log(self, pod: client.V1Pod) -> str | None:
        """None while its container has not started."""
        try:
            # as it is: the client would read a log of one JSON line as an object, and give its repr
            answer = self.core.read_namespaced_pod_log(pod.metadata.name, self.namespace, _preload_content=False)
        except ApiException:
            return None
        return answer.data.decode(errors="replace")

    def delete_job(self, name: str, timeout: float = 60) -> None:
        """Removes a Job and its pods and waits until it is gone; there need not be one."""
        self._delete(self.batch.delete_namespaced_job, "Job", name, timeout)

    def _delete(self, delete: Callable[..., Any], kind: str, name: str, timeout: float) -> None:
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                delete(name, self.namespace, propagation_policy="Foreground")
            except ApiException as error:
                if error.status == 404:
                    return
                raise
            time.sleep(0.5)
        raise AirflowException(f"{kind} {name} is still there {timeout:.0f} s after its deletion")


def _message(error: ApiException) -> str:
    """Return the API server's own words, with the cause that it names for a refused eviction (which budget)."""
    try:
        status = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.reason)
    causes = [cause["message"] for cause in (status.get("details") or {}).get("causes") or []]
    return " ".join([status.get("message", str(error.reason)), *causes])
