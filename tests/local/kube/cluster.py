"""A control plane with one process node for tests: the node's images are directories, all else is real."""

import asyncio
import base64
import contextlib
import http.client
import json
import sys
import threading
import time
import uuid
from pathlib import Path

from kubernetes import client, config, utils

from local.kube.api import Api
from local.kube.node import Node
from local.kube.proxy import ServiceProxy
from local.kube.runtime import StaticRuntime
from local.kube.spec import ClusterSpec, RunSpec

APP = Path(__file__).with_name("app.py")
CAPACITY = {"cpu": "4", "memory": "8Gi", "pods": "40", "ephemeral-storage": "20Gi"}
ENDPOINT_LAG = 1.0


def eventually(condition, seconds=30.0, what="it"):
    """The first true value of condition(); fails when there is none in time."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"{what} not within {seconds:g} s"
        time.sleep(0.1)
    return value


def app_runtime():
    """Return the runtime of nodes whose only image is the test application, `app`."""
    app = RunSpec(
        workdir=str(APP.parent), command=[sys.executable, str(APP)], args=["--built-in"], env={"FROM": "image"}
    )
    return StaticRuntime(images={"app": app}, env={"FROM": "node"})


class Cluster:
    """`api`: an ApiClient; `ports`: a free port for load balancers; node and proxy run in a thread of their own."""

    def __init__(self, spec: ClusterSpec):
        self.spec = spec
        self.api = config.new_client_from_config(str(spec.kubeconfig))
        self.core, self.apps = client.CoreV1Api(self.api), client.AppsV1Api(self.api)
        self.autoscaling, self.custom = client.AutoscalingV2Api(self.api), client.CustomObjectsApi(self.api)

    @contextlib.contextmanager
    def node(self, name="node-1", slot=0):
        self.add_node(name)
        started, loop = threading.Event(), asyncio.new_event_loop()
        over = asyncio.Event()

        async def run():
            api = Api(self.spec.folder)
            proxy = ServiceProxy(api, ENDPOINT_LAG)
            spec = self.spec.node(name, slot, CAPACITY)
            node = Node(api, spec, self.spec.folder, proxy, app_runtime(), {"MARK": "node"})
            tasks = [asyncio.create_task(part.run()) for part in (proxy, node)]
            started.set()
            await over.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await node.close()
            await api.close()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        try:
            started.wait(10)
            eventually(lambda: self.is_ready(name), what="a Ready node")
            yield
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(20)
            loop.close()
            self.core.delete_node(name)

    def add_node(self, name):
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        self.core.create_node({"metadata": {"name": name, "labels": labels}})
        self.core.patch_node_status(name, {"status": {"capacity": CAPACITY, "allocatable": CAPACITY}})

    def is_ready(self, name):
        conditions = self.core.read_node(name).status.conditions or []
        return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)

    def namespace(self):
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": name}})
        eventually(lambda: self.core.list_namespaced_service_account(name).items, what="the default service account")
        return Namespace(self, name)


class Namespace:
    def __init__(self, cluster: Cluster, name: str):
        self.cluster, self.core, self.name = cluster, cluster.core, name

    def create(self, kind, name, version="v1", **content):
        utils.create_from_dict(
            self.cluster.api,
            {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {"app": name}}, **content},
            namespace=self.name,
        )

    def pod(self, name, container=None, **spec):
        self.create("Pod", name, spec={"containers": [app_container(**(container or {}))], **spec})

    def deployment(self, name, replicas=1, container=None, **spec):
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [app_container(**(container or {}))]}}
        template["spec"] |= spec
        selector = {"matchLabels": {"app": name}}
        self.create(
            "Deployment", name, "apps/v1", spec={"replicas": replicas, "selector": selector, "template": template}
        )

    def service(self, name, port, kind="LoadBalancer", app=None):
        ports = [{"name": "http", "port": port, "targetPort": 8000}]
        self.create("Service", name, spec={"type": kind, "selector": {"app": app or name}, "ports": ports})

    def secret(self, name, **values):
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.create("Secret", name, data=data)

    def status(self, name):
        return self.core.read_namespaced_pod(name, self.name).status

    def container(self, name):
        """The status of a pod's first container, None before it has one."""
        return next(iter(self.status(name).container_statuses or []), None)

    def wait_ready(self, name, seconds=30.0):
        eventually(lambda: (status := self.container(name)) and status.ready, seconds, f"pod {name} ready")

    def get(self, name, path="/"):
        """Asks a pod directly, as the node does; the answer's JSON."""
        return ask("127" + self.status(name).pod_ip.removeprefix("10"), 8000, path)

    def events(self, reason):
        return [event for event in self.core.list_namespaced_event(self.name).items if event.reason == reason]


def ask(host, port, path="/"):
    """The JSON of an answer, with its status; OSError or HTTPException when there is none."""
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return json.loads(answer.read()) | {"status": answer.status}
    finally:
        connection.close()


def app_container(env=(), **spec):
    host = {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    ready = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    ports = [{"name": "http", "containerPort": 8000}]
    return {"name": "app", "image": "app", "env": [host, *env], "ports": ports, "readinessProbe": ready, **spec}
