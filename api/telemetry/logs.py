"""Write JSON log lines to standard output. No line holds a request body, an API key or a client address."""

import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

BUFFER_BYTES = 32 * 1024


class Log:
    """Buffer lines until `flush`, which the server calls ten times a second: one system call instead of one for each
    request. Events (start, refusal, warning) are written at once. Safe to use from any thread."""

    def __init__(
        self,
        stream: BinaryIO | None = None,
        level: str = "INFO",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        **common: str,
    ) -> None:
        self._stream = stream or sys.stdout.buffer
        self._level = logging.getLevelNamesMapping()[level]
        self._clock = clock
        self._common = common
        self._encode = msgspec.json.Encoder().encode
        self._lock = threading.Lock()
        self._buffer = bytearray()

    def line(self, event: str, **fields: Any) -> None:
        """Buffer a line. Use it for what happens with every request."""
        if self._level <= logging.INFO:
            self._append(event, "INFO", fields)

    def event(self, event: str, level: str = "INFO", **fields: Any) -> None:
        """Write a line at once. Use it for what is rare and must not be lost."""
        if self._level <= logging.getLevelNamesMapping()[level]:
            self._append(event, level, fields)
            self.flush()

    def raw(self, document: dict[str, Any]) -> None:
        """Write a document as it is, at once (metrics in CloudWatch's embedded metric format)."""
        with self._lock:
            self._buffer += self._encode(document) + b"\n"
        self.flush()

    def _append(self, event: str, level: str, fields: dict[str, Any]) -> None:
        text = self._encode({"time": self._clock(), "level": level, "event": event, **self._common, **fields})
        with self._lock:
            self._buffer += text + b"\n"
            full = len(self._buffer) > BUFFER_BYTES
        if full:
            self.flush()

    def flush(self) -> None:
        """Write the buffered lines."""
        with self._lock:
            if self._buffer:
                self._stream.write(self._buffer)
                self._stream.flush()
                self._buffer.clear()


class ForwardingHandler(logging.Handler):
    """Write what libraries log (uvicorn, boto3) as events of a Log, so that every line of the process is JSON."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._log.event("library", record.levelname, **fields)
