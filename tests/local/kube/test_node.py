"""Pods on a process node of a real control plane."""

import contextlib
import http.client
import threading
import time

import jwt
import pytest

from local.stack import config
from tests.local.kube.cluster import ENDPOINT_LAG, ask, eventually

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def node(cluster):
    with cluster.node():
        yield cluster


@pytest.fixture
def namespace(node):
    made = node.namespace()
    yield made
    node.core.delete_namespace(made.name, grace_period_seconds=0)


def literal(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


def test_a_container_gets_environment_arguments_and_volumes(namespace):
    namespace.create("ConfigMap", "settings", data={"GREETING": "hello", "dir": "/data/x"})
    namespace.secret("keys", API_KEY="s3cret")
    token = {"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token", "expirationSeconds": 600}}
    env = [
        *literal(URL="http://0.0.0.0:$(PORT)", FROM_IMAGE="$(FROM)", TOKEN_FILE="/var/token/token"),
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "API_KEY"}}},
        {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "none", "key": "none", "optional": True}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    container = {
        "env": [*literal(PORT="8000"), *env],
        "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "C_"}],
        "args": ["--cache=/data", "$(POD)"],
        "resources": {"limits": {"cpu": "500m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "token", "mountPath": "/var/token"}],
    }
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "token", "projected": {"sources": [token]}}]
    namespace.pod("app", container, volumes=volumes)
    namespace.wait_ready("app")
    answer = namespace.get("app")
    env, listening = answer["env"], "127" + namespace.status("app").pod_ip.removeprefix("10")
    assert env["HOST"] == listening
    assert env["URL"] == f"http://{listening}:8000"
    assert (env["FROM"], env["FROM_IMAGE"], env["MARK"]) == ("image", "image", "node")
    assert (env["KEY"], env["CPU"], env["POD"], env["C_GREETING"]) == ("s3cret", "500", "app", "hello")
    assert "NO" not in env
    assert env["C_dir"] == answer["argv"][0].removeprefix("--cache=") + "/x"
    assert answer["argv"][0].endswith("/volumes/data")
    assert answer["argv"][1] == "app"
    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert claims["aud"] == ["sts.amazonaws.com"]
    assert claims["kubernetes.io"]["pod"]["name"] == "app"
    assert 0 < claims["exp"] - time.time() <= 600


def test_a_pod_gets_no_requests_until_its_readiness_probe_passes(namespace):
    port = config.any_free_port()
    namespace.deployment("app", container={"env": literal(READY="no")})
    namespace.service("app", port)
    pods = eventually(lambda: namespace.core.list_namespaced_pod(namespace.name).items)
    name = pods[0].metadata.name
    eventually(lambda: (container := namespace.container(name)) and container.state.running, what="a running container")
    eventually(lambda: _answers(namespace, name), what="the application")
    assert not _reached(port)
    assert namespace.get(name, "/ready-now")["status"] == 200
    namespace.wait_ready(name)
    eventually(lambda: _reached(port), what="an answer through the Service")
    namespace.get(name, "/unready-now")
    eventually(lambda: not _reached(port), what="a Service without endpoints")


def _answers(namespace, name):
    try:
        return namespace.get(name)
    except OSError:
        return None


def _reached(port):
    try:
        return ask("127.0.0.1", port)
    except (OSError, http.client.HTTPException):
        return None


def test_a_failed_container_backs_off_and_its_log_tail_is_kept(namespace):
    namespace.pod("app", {"env": literal(CRASH="yes"), "terminationMessagePolicy": "FallbackToLogsOnError"})
    waiting = eventually(
        lambda: (container := namespace.container("app")) and container.restart_count == 1 and container.state.waiting
    )
    assert waiting.reason == "CrashLoopBackOff"
    last = namespace.container("app").last_state.terminated
    assert (last.exit_code, last.reason, last.message) == (1, "Error", "cannot start\n")
    assert namespace.events("BackOff")
    assert namespace.core.read_namespaced_pod_log("app", namespace.name, previous=True) == "cannot start\n"


def test_a_container_that_fails_its_liveness_probe_is_restarted(namespace):
    alive = {"httpGet": {"path": "/alive", "port": 8000}, "periodSeconds": 1, "initialDelaySeconds": 2}
    namespace.pod("app", {"livenessProbe": alive})
    namespace.wait_ready("app")
    namespace.get("app", "/break")
    eventually(lambda: (container := namespace.container("app")) and container.restart_count == 1 and container.ready)
    assert namespace.events("Unhealthy")


def test_a_startup_probe_holds_back_the_others(namespace):
    never = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2}
    namespace.pod("app", {"startupProbe": never}, restartPolicy="Never")
    ended = eventually(
        lambda: (container := namespace.container("app")) and container.state.terminated, what="the pod's end"
    )
    assert ended.exit_code == 0
    assert "Startup probe failed" in namespace.events("Unhealthy")[0].message
    assert "failed startup probe" in namespace.events("Killing")[0].message


def test_an_init_container_that_fails_keeps_the_pod_from_starting(namespace):
    init = {"name": "init", "image": "app", "command": ["sh", "-c", "exit 4"]}
    namespace.pod("app", initContainers=[init], restartPolicy="Never")
    eventually(lambda: namespace.status("app").phase == "Failed", what="a failed pod")
    status = namespace.status("app")
    assert status.init_container_statuses[0].state.terminated.exit_code == 4
    assert status.container_statuses[0].state.waiting


def test_an_image_that_is_not_there_is_shown_as_such(namespace):
    namespace.pod("app", {"image": "missing"})
    waiting = eventually(
        lambda: (
            (container := namespace.container("app"))
            and container.state.waiting
            and container.state.waiting.reason == "ImagePullBackOff"
            and container.state.waiting
        )
    )
    assert 'Failed to pull image "missing"' in waiting.message


@contextlib.contextmanager
def asking(port, clients=3):
    """Ask all the time, each time over a new connection; yield the list of whether there was an answer.

    Several clients: one that waits for an answer that never comes does not keep the others from asking.
    """
    results = []
    over = threading.Event()

    def ask_on():
        while not over.is_set():
            results.append(bool(_reached(port)))
            time.sleep(0.01)

    threads = [threading.Thread(target=ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield results
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(results) > 50


def rollout_is_done(namespace):
    deployment = namespace.cluster.apps.read_namespaced_deployment("app", namespace.name)
    status = deployment.status
    pods = namespace.core.list_namespaced_pod(namespace.name).items
    observed = status.observed_generation == deployment.metadata.generation
    return observed and status.updated_replicas == status.available_replicas == len(pods) == 2


def roll_two_pods(namespace, **container):
    """Whether each request was answered while a Deployment of two pods behind a load balancer was rolled."""
    port = config.any_free_port()
    namespace.deployment("app", replicas=2, container=container)
    namespace.service("app", port)
    eventually(lambda: rollout_is_done(namespace), what="two pods")
    eventually(lambda: _reached(port), what="an answer through the Service")
    before = {pod.metadata.uid for pod in namespace.core.list_namespaced_pod(namespace.name).items}
    change = {"spec": {"template": {"metadata": {"annotations": {"restarted": "yes"}}}}}
    with asking(port) as results:
        namespace.cluster.apps.patch_namespaced_deployment("app", namespace.name, change)
        eventually(lambda: rollout_is_done(namespace), 60, "the rollout")
        time.sleep(ENDPOINT_LAG)
    after = {pod.metadata.uid for pod in namespace.core.list_namespaced_pod(namespace.name).items}
    assert before.isdisjoint(after)
    return results


def test_a_rollout_with_pre_stop_loses_no_request(namespace):
    assert all(roll_two_pods(namespace, lifecycle={"preStop": {"sleep": {"seconds": 3}}}))


def test_a_rollout_without_pre_stop_loses_requests(namespace):
    """Services follow late, as on a cloud."""
    assert not all(roll_two_pods(namespace))


def test_a_pod_that_ignores_sigterm_is_killed_when_its_grace_is_over(namespace):
    namespace.pod(
        "app", {"command": ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"], "readinessProbe": None}
    )
    eventually(
        lambda: (container := namespace.container("app")) and container.state.running, what="a running container"
    )
    began = time.monotonic()
    namespace.core.delete_namespaced_pod("app", namespace.name, grace_period_seconds=2)
    eventually(lambda: not namespace.core.list_namespaced_pod(namespace.name).items, what="the end of the pod")
    assert 2 <= time.monotonic() - began < 10


def test_logs_are_read_and_followed_through_the_api(namespace):
    script = "for i in 1 2 3 4; do echo line $i; done; sleep 2; echo end"
    namespace.pod("app", {"command": ["sh", "-c", script], "readinessProbe": None}, restartPolicy="Never")
    eventually(
        lambda: (container := namespace.container("app")) and container.state.running, what="a running container"
    )
    eventually(lambda: "line 4" in namespace.core.read_namespaced_pod_log("app", namespace.name))
    assert namespace.core.read_namespaced_pod_log("app", namespace.name, tail_lines=1) == "line 4\n"
    stream = namespace.core.read_namespaced_pod_log("app", namespace.name, follow=True, _preload_content=False)
    assert stream.read().decode().splitlines() == ["line 1", "line 2", "line 3", "line 4", "end"]
    eventually(lambda: namespace.status("app").phase == "Succeeded", what="a succeeded pod")


def test_a_load_balancer_is_at_localhost_and_its_port_is_its_own(namespace):
    port = config.any_free_port()
    namespace.deployment("app")
    namespace.service("app", port)

    def hostnames(name):
        service = namespace.core.read_namespaced_service_status(name, namespace.name)
        return [entry.hostname for entry in service.status.load_balancer.ingress or []]

    eventually(lambda: hostnames("app") == ["localhost"], what="the load balancer's hostname")
    eventually(lambda: _reached(port), what="an answer through the load balancer")
    inside = namespace.core.read_namespaced_service("app", namespace.name).spec.cluster_ip
    assert ask("127" + inside.removeprefix("10"), port)["status"] == 200
    namespace.service("second", port, app="app")
    event = eventually(lambda: namespace.events("NoListener"), what="an Event about the port")[0]
    assert event.involved_object.name == "second"
    assert f"127.0.0.1:{port}" in event.message
    assert hostnames("second") == []
    namespace.core.delete_namespaced_service("app", namespace.name)
    eventually(lambda: hostnames("second") == ["localhost"], what="the port's new owner")
    eventually(lambda: _reached(port), what="an answer of the new owner")


def test_cpu_of_a_pod_is_measured_and_scales_its_deployment(namespace):
    namespace.deployment("app", container={"resources": {"requests": {"cpu": "100m"}}})
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
    namespace.cluster.autoscaling.create_namespaced_horizontal_pod_autoscaler(
        namespace.name,
        {
            "metadata": {"name": "app"},
            "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2, "metrics": [cpu]},
        },
    )
    pods = eventually(lambda: namespace.core.list_namespaced_pod(namespace.name).items)
    name, over = pods[0].metadata.name, threading.Event()
    namespace.wait_ready(name)

    def work():
        while not over.is_set():
            namespace.get(name, "/work")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        scaled = namespace.cluster.autoscaling.read_namespaced_horizontal_pod_autoscaler
        eventually(lambda: scaled("app", namespace.name).status.desired_replicas == 2, 120, "two replicas")
    finally:
        over.set()
        thread.join()
    metrics = namespace.cluster.custom.get_namespaced_custom_object(
        "metrics.k8s.io", "v1beta1", namespace.name, "pods", name
    )
    assert metrics["containers"][0]["usage"]["cpu"] != "0"
    assert metrics["containers"][0]["usage"]["memory"].endswith("Ki")
