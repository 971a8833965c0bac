"""Send a job's lines to its log stream with the job's role, and search them for metrics."""

import contextlib
import logging
import re
import threading
import time
from collections import deque
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.aws.cloudwatch.log_limits import BATCH_BYTES, BATCH_EVENTS, EVENT_BYTES, EVENT_OVERHEAD_BYTES

log = logging.getLogger(__name__)

LAST_LINES: Final = 3


class JobLog:
    """The log of one job: `put` takes lines from any thread, `flush` sends them.

    A job without the right to write logs continues, as on AWS: the refusal is logged once by this process.
    """

    def __init__(self, logs: Any, group: str, stream: str, metrics: dict[str, str]) -> None:
        """metrics: name → regular expression with one group, the value."""
        self._logs, self._where = logs, {"logGroupName": group, "logStreamName": stream}
        self._lock = threading.Lock()
        self._waiting: list[tuple[int, str]] = []
        self._metrics = {name: re.compile(expression) for name, expression in metrics.items()}
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._refused = False
        self.values: dict[str, float] = {}
        self._try(self._create)

    def _create(self) -> None:
        exists = self._logs.exceptions.ResourceAlreadyExistsException
        with contextlib.suppress(exists):
            self._logs.create_log_group(logGroupName=self._where["logGroupName"])
        with contextlib.suppress(exists):
            self._logs.create_log_stream(**self._where)

    def _try(self, call: Any) -> None:
        try:
            call()
        except (ClientError, BotoCoreError) as error:
            if not self._refused:
                log.warning("log lines of %s are lost: %s", self._where["logStreamName"], error)
            self._refused = True

    def put(self, line: str) -> None:
        """Take a line, and the metrics in it."""
        for name, expression in self._metrics.items():
            if match := expression.search(line):
                with contextlib.suppress(ValueError):  # a value that is no number is no metric
                    self.values[name] = float(match[1])
        text = line.encode()[:EVENT_BYTES].decode(errors="ignore") or " "  # an event must not be empty
        with self._lock:
            if line.strip():
                self._last.append(line)
            self._waiting.append((int(time.time() * 1000), text))

    def flush(self) -> None:
        """Send the lines that wait, in batches that the service accepts."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        batch: list[dict[str, Any]] = []
        size = 0
        for moment, text in waiting:
            length = len(text.encode()) + EVENT_OVERHEAD_BYTES
            if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
                self._send(batch)
                batch, size = [], 0
            batch.append({"timestamp": moment, "message": text})
            size += length
        if batch:
            self._send(batch)

    def _send(self, batch: list[dict[str, Any]]) -> None:
        self._try(lambda: self._logs.put_log_events(**self._where, logEvents=batch))

    def last_lines(self) -> str:
        """Return the last lines that are not blank."""
        with self._lock:
            return "\n".join(self._last)
