"""Send the logs of a node's containers to CloudWatch, as Fluent Bit of Container Insights does."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.aws.cloudwatch.log_limits import BATCH_BYTES, BATCH_EVENTS, EVENT_BYTES, EVENT_OVERHEAD_BYTES
from local.kube.api import Object
from local.kube.runtime import ContainerLog

log = logging.getLogger(__name__)


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

    def __init__(self, node: str, cluster: str, endpoint: str, session: Callable[[], boto3.Session]) -> None:
        self._node = node
        self._endpoint = endpoint
        self._session = session
        self._group = f"/aws/containerinsights/{cluster}/application"
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
        self._client = self._client or self._session().client("logs", endpoint_url=self._endpoint)
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
