"""What EKS adds to a node: images from ECR and logs to CloudWatch with the node role, roles for service accounts."""

import asyncio
import contextlib
import json
import logging
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.kube.api import Api, Object
from local.kube.errors import ApiError, CannotStart
from local.kube.node import Node, Place
from local.kube.pod import Pod
from local.kube.proxy import ServiceProxy
from local.stack import code_images as images
from local.stack import renewing
from local.stack.code_images import Recipe

log = logging.getLogger(__name__)

ANNOTATIONS = "eks.amazonaws.com/"
MOUNT_PATH = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
TOKEN_VOLUME, TOKEN_SECONDS = "aws-iam-token", 86400
CREDENTIALS_PATH = "/_local/credentials"
SHIP_SECONDS = 1.0
BATCH_EVENTS, BATCH_BYTES, EVENT_BYTES = 9000, 900_000, 200_000
"""PutLogEvents takes 10,000 events, 1 MiB with 26 bytes more for each, and 256 KiB an event."""


@dataclass(frozen=True)
class Surroundings:
    """The embedded AWS as nodes see it; cache: unpacked images."""

    endpoint: str
    region: str
    cluster: str
    cache: Path


def role_session(endpoint: str, region: str, secret: str) -> boto3.Session:
    """A session that fetches and renews its credentials from the embedded AWS, as on EC2 from IMDS."""

    def fetch() -> renewing.Credentials:
        request = urllib.request.Request(endpoint + CREDENTIALS_PATH, headers={"Authorization": secret})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read())

    return renewing.session(fetch, region, "node-role")


def inject_role(spec: Object, annotations: Mapping[str, str], region: str) -> None:
    """What EKS's pod identity webhook does for a service account with a role: a token volume, variables for SDKs.

    Variables that a container sets itself stay; a pod that brings the volume stays as it is.
    """
    role = annotations.get(f"{ANNOTATIONS}role-arn")
    if not role or any(volume["name"] == TOKEN_VOLUME for volume in spec.get("volumes", [])):
        return
    token = {
        "audience": annotations.get(f"{ANNOTATIONS}audience", "sts.amazonaws.com"),
        "expirationSeconds": int(annotations.get(f"{ANNOTATIONS}token-expiration", TOKEN_SECONDS)),
        "path": "token",
    }
    volume = {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}
    spec.setdefault("volumes", []).append(volume)
    variables = {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{MOUNT_PATH}/token",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    for container in spec.get("initContainers", []) + spec["containers"]:
        own = container.setdefault("env", [])
        names = {item["name"] for item in own}
        own += [{"name": name, "value": value} for name, value in variables.items() if name not in names]
        mount = {"name": TOKEN_VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)


def cut(data: bytes, about: Object) -> tuple[list[str], int]:
    """The messages of one PutLogEvents and the number of bytes of the log that they are; (, 0): no whole line yet.

    A message is a line as Fluent Bit of Container Insights sends it: {"log": line, "kubernetes": about}.
    """
    messages: list[str] = []
    size = used = 0
    while used < len(data) and len(messages) < BATCH_EVENTS:
        end = data.find(b"\n", used, used + EVENT_BYTES) + 1
        if not end:
            end = used + EVENT_BYTES
            if end > len(data):
                break
        line = data[used:end].decode(errors="replace").rstrip("\r\n")
        message = json.dumps({"log": line, "kubernetes": about}, ensure_ascii=False)
        size += len(message.encode()) + 26
        if messages and size > BATCH_BYTES:
            break
        if line:
            messages.append(message)
        used = end
    return messages, used


class Shipper:
    """Container logs to /aws/containerinsights/<cluster>/application, once a second.

    At least once: how far a log is shipped is noted beside it, so a node that starts again repeats at most one batch.
    """

    def __init__(self, node: "EksNode") -> None:
        self.node, self.lock = node, asyncio.Lock()
        self.group = f"/aws/containerinsights/{node.around.cluster}/application"
        self.streams: set[str] = set()
        self.client: Any = None

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SHIP_SECONDS)
            await self.ship(list(self.node.pods.values()))

    async def ship(self, pods: Iterable[Pod]) -> None:
        async with self.lock:
            for pod in pods:
                for container in pod.all:
                    name, image = container.name, container.spec["image"]
                    for path in {container.log_file(previous=True), container.log_file()}:
                        if path.exists():
                            await asyncio.to_thread(self._ship_file, pod, name, image, path)

    def _ship_file(self, pod: Pod, container: str, image: str, path: Path) -> None:
        note = path.with_suffix(".shipped")
        offset = int(note.read_text()) if note.exists() else 0
        if path.stat().st_size <= offset:
            return
        about = {
            "pod_name": pod.name,
            "namespace_name": pod.namespace,
            "container_name": container,
            "pod_id": pod.uid,
            "host": self.node.name,
            "container_image": image,
            "labels": pod.obj["metadata"].get("labels", {}),
        }
        with path.open("rb") as stream:
            stream.seek(offset)
            messages, used = cut(stream.read(BATCH_BYTES), about)
        if not used:
            return
        stream_name = f"{self.node.name}-application.var.log.containers.{pod.name}_{pod.namespace}_{container}.log"
        try:
            if messages:
                self._put(stream_name, messages)
            note.write_text(str(offset + used))
        except (ClientError, BotoCoreError, OSError) as error:
            log.warning("logs of %s: %s", stream_name, error)

    def _put(self, stream: str, messages: list[str]) -> None:
        self.client = self.client or self.node.session().client("logs", endpoint_url=self.node.around.endpoint)
        exists = self.client.exceptions.ResourceAlreadyExistsException
        if stream not in self.streams:
            with contextlib.suppress(exists):
                self.client.create_log_group(logGroupName=self.group)
            with contextlib.suppress(exists):
                self.client.create_log_stream(logGroupName=self.group, logStreamName=stream)
            self.streams.add(stream)
        stamp = int(time.time() * 1000)
        events = [{"timestamp": stamp, "message": message} for message in messages]
        self.client.put_log_events(logGroupName=self.group, logStreamName=stream, logEvents=events)


class EksNode(Node):
    """A node of a node group; secret: with which it fetches the credentials of its role."""

    def __init__(
        self,
        api: Api,
        place: Place,
        root: Path,
        proxy: ServiceProxy,
        around: Surroundings,
        secret: str,
        marks: Mapping[str, str],
    ) -> None:
        env = {"AWS_ENDPOINT_URL": around.endpoint, "AWS_REGION": around.region, "AWS_DEFAULT_REGION": around.region}
        env["AWS_EC2_METADATA_DISABLED"] = "true"  # on a machine of EC2 it would answer for another account
        super().__init__(api, place, root, proxy.services, env, marks)
        self.proxy, self.around, self.secret = proxy, around, secret
        self.shipper = Shipper(self)
        self._session: boto3.Session | None = None

    def session(self) -> boto3.Session:
        if not self._session:
            self._session = role_session(self.around.endpoint, self.around.region, self.secret)
        return self._session

    def listen_port(self, port: int) -> int:
        return self.proxy.listen_port(port)

    async def run(self) -> None:
        self.spawn(self.shipper.run())
        await super().run()

    async def pull(self, reference: str) -> Recipe:
        def work() -> Recipe:
            return images.pull(reference, self.session(), self.around.endpoint, self.around.cache)

        try:
            return await asyncio.to_thread(work)
        except (images.PullError, OSError) as error:
            raise CannotStart("ErrImagePull", f'Failed to pull image "{reference}": {error}') from error

    async def admit(self, pod: Pod) -> None:
        account = pod.spec.get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{pod.namespace}/serviceaccounts/{account}"
        try:
            meta = (await self.api.call("GET", path))["metadata"]
        except ApiError as error:
            raise CannotStart("FailedMount", f"service account {account}: {error}") from error
        inject_role(pod.spec, meta.get("annotations", {}), self.around.region)

    async def leaving(self, pod: Pod) -> None:
        await self.shipper.ship([pod])
