"""What EKS adds to a node (a NodeRuntime of local.kube): images from ECR, logs to CloudWatch, service account roles."""

import asyncio
import contextlib
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.kube.api import Api, Object
from local.kube.errors import ApiError, CannotStart
from local.kube.runtime import ContainerLog
from local.kube.spec import RunSpec
from local.stack import code_images as images
from local.stack import renewing

log = logging.getLogger(__name__)

ANNOTATIONS = "eks.amazonaws.com/"
MOUNT_PATH = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
TOKEN_VOLUME = "aws-iam-token"  # noqa: S105 - a name
TOKEN_SECONDS = 86400
CREDENTIALS_PATH = "/_local/credentials"
BATCH_EVENTS = 9000
BATCH_BYTES = 900_000
EVENT_BYTES = 200_000
EVENT_OVERHEAD_BYTES = 26
"""PutLogEvents takes 10,000 events, 1 MiB with 26 bytes more for each, and 256 KiB an event."""


@dataclass(frozen=True)
class NodeSettings:
    """The AWS emulation as nodes see it: its URL, region and cluster. images: the folder of unpacked images."""

    endpoint: str
    region: str
    cluster: str
    images: Path


def role_session(endpoint: str, region: str, secret: str) -> boto3.Session:
    """Return a session that fetches and renews credentials from the AWS emulation, as on EC2 from IMDS.

    The secret is the node role's: `Authorization: <secret>` answers {"AccessKeyId", "SecretAccessKey", "Token",
    "Expiration"} (RFC 3339).
    """

    def fetch() -> renewing.Credentials:
        request = urllib.request.Request(endpoint + CREDENTIALS_PATH, headers={"Authorization": secret})
        with urllib.request.urlopen(request, timeout=10) as reply:
            credentials: renewing.Credentials = json.loads(reply.read())
            return credentials

    return renewing.session(fetch, region, "node-role")


def inject_role(spec: Object, annotations: Mapping[str, str], region: str) -> None:
    """Add what EKS's pod identity webhook adds for a service account with a role: a token volume, variables for SDKs.

    Variables that a container sets itself are kept; a pod that has the volume already is not changed.
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
        env = container.setdefault("env", [])
        names = {item["name"] for item in env}
        env += [{"name": name, "value": value} for name, value in variables.items() if name not in names]
        mount = {"name": TOKEN_VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}
        container.setdefault("volumeMounts", []).append(mount)


def cut(data: bytes, metadata: Object) -> tuple[list[str], int]:
    """Return the messages of one PutLogEvents, and how many bytes of the log they are; 0: there is no whole line yet.

    A message is a line as Fluent Bit of Container Insights sends it: {"log": line, "kubernetes": metadata}.
    """
    messages: list[str] = []
    size = 0
    used = 0
    while used < len(data) and len(messages) < BATCH_EVENTS:
        end = data.find(b"\n", used, used + EVENT_BYTES) + 1
        if not end:
            end = used + EVENT_BYTES
            if end > len(data):
                break
        line = data[used:end].decode(errors="replace").rstrip("\r\n")
        message = json.dumps({"log": line, "kubernetes": metadata}, ensure_ascii=False)
        size += len(message.encode()) + EVENT_OVERHEAD_BYTES
        if messages and size > BATCH_BYTES:
            break
        if line:
            messages.append(message)
        used = end
    return messages, used


class LogShipper:
    """Sends container logs to /aws/containerinsights/<cluster>/application, with the role of the node.

    At least once: how far a log has been sent is recorded beside it, so a node that starts again repeats at most one
    batch.
    """

    def __init__(self, node: str, settings: NodeSettings, session: Callable[[], boto3.Session]) -> None:
        self._node = node
        self._settings = settings
        self._session = session
        self._group = f"/aws/containerinsights/{settings.cluster}/application"
        self._lock = asyncio.Lock()
        self._streams: set[str] = set()
        self._client: Any = None

    async def ship(self, logs: Sequence[ContainerLog]) -> None:
        """Send what is new in these logs."""
        async with self._lock:
            for container in logs:
                for path in container.files:
                    if path.exists():
                        await asyncio.to_thread(self._ship_file, container, path)

    def _ship_file(self, container: ContainerLog, path: Path) -> None:
        record = path.with_suffix(".shipped")
        offset = int(record.read_text()) if record.exists() else 0
        if path.stat().st_size <= offset:
            return
        with path.open("rb") as stream:
            stream.seek(offset)
            messages, used = cut(stream.read(BATCH_BYTES), self._metadata(container))
        if not used:
            return
        pod = f"{container.pod}_{container.namespace}_{container.container}"
        stream_name = f"{self._node}-application.var.log.containers.{pod}.log"
        try:
            if messages:
                self._put(stream_name, messages)
            record.write_text(str(offset + used))
        except (ClientError, BotoCoreError, OSError) as error:
            log.warning("cannot send the log %s, trying again: %s", stream_name, error)

    def _metadata(self, container: ContainerLog) -> Object:
        return {
            "pod_name": container.pod,
            "namespace_name": container.namespace,
            "container_name": container.container,
            "pod_id": container.pod_uid,
            "host": self._node,
            "container_image": container.image,
            "labels": container.labels,
        }

    def _put(self, stream: str, messages: list[str]) -> None:
        self._client = self._client or self._session().client("logs", endpoint_url=self._settings.endpoint)
        exists = self._client.exceptions.ResourceAlreadyExistsException
        if stream not in self._streams:
            with contextlib.suppress(exists):
                self._client.create_log_group(logGroupName=self._group)
            with contextlib.suppress(exists):
                self._client.create_log_stream(logGroupName=self._group, logStreamName=stream)
            self._streams.add(stream)
        stamp = int(time.time() * 1000)
        events = [{"timestamp": stamp, "message": message} for message in messages]
        self._client.put_log_events(logGroupName=self._group, logStreamName=stream, logEvents=events)


class EksRuntime:
    """The NodeRuntime of a node of a node group; secret: with which it fetches the credentials of its role."""

    def __init__(self, api: Api, node: str, settings: NodeSettings, secret: str) -> None:
        self.env: Mapping[str, str] = {
            "AWS_ENDPOINT_URL": settings.endpoint,
            "AWS_REGION": settings.region,
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_EC2_METADATA_DISABLED": "true",  # on a machine of EC2 it would answer for another account
        }
        self._api = api
        self._settings = settings
        self._secret = secret
        self._role: boto3.Session | None = None
        self._shipper = LogShipper(node, settings, self._session)

    def _session(self) -> boto3.Session:
        """Return a session of the node role."""
        if not self._role:
            self._role = role_session(self._settings.endpoint, self._settings.region, self._secret)
        return self._role

    async def pull(self, image: str) -> RunSpec:
        """Pull an image from ECR, and return how to run it."""
        try:
            return await asyncio.to_thread(self._pull, image)
        except (images.PullError, OSError) as error:
            raise CannotStart("ErrImagePull", f'Failed to pull image "{image}": {error}') from error

    def _pull(self, image: str) -> RunSpec:
        pulled = images.pull(image, self._session(), self._settings.endpoint, self._settings.images)
        return RunSpec(
            command=pulled.command, args=pulled.args, env=pulled.env, root=pulled.root, workdir=pulled.workdir
        )

    async def admit(self, namespace: str, spec: Object) -> None:
        """Give a pod the role of its service account."""
        account = spec.get("serviceAccountName", "default")
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}"
        try:
            meta = (await self._api.call("GET", path))["metadata"]
        except ApiError as error:
            raise CannotStart("FailedMount", f"service account {account}: {error}") from error
        inject_role(spec, meta.get("annotations", {}), self._settings.region)

    async def collect_logs(self, logs: Sequence[ContainerLog]) -> None:
        """Send what is new in these logs to CloudWatch."""
        await self._shipper.ship(logs)
