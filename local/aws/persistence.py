"""Saves what changed, so that a kill -9 costs seconds of AWS state.

ministack saves everything at a clean end only. S3 objects and SageMaker are on disk at once by themselves.
"""

import hashlib
import json
import logging
import threading
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import persistence
from ministack.services import sts

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws.iam import role_sessions as roles

log = logging.getLogger(__name__)

EVERY = 3.0  # seconds
AT_LEAST = 10  # rounds: alarms and node groups change state without a request


def _restore_sessions(state: dict[str, Any]) -> None:
    sts._sessions.update(state.get("sessions", {}))


# ministack forgets temporary credentials; with them every task that runs over a restart would lose its role
sts.get_state = lambda: {"sessions": dict(sts._sessions)}
sts.load_persisted_state = _restore_sessions


class Saver:
    """Writes the file of each service whose state is not what was written last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: dict[str, bytes] = {}
        self.requests = 0

    async def __call__(self, scope, receive, send):
        """The ASGI application in front: counts requests, since only they make it worth looking soon."""
        await roles.answer(scope, receive, send)
        self.requests += 1

    def save(self) -> list[str]:
        """The names of the services that were written."""
        saved = []
        for service, state_of in app._build_persistence_save_dict().items():
            try:
                state = state_of()
                if state is None:
                    continue
                document = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
                text = json.dumps(document, default=persistence._json_default)
            except RuntimeError:  # a dictionary changed its size under the copy: the next round gets it
                log.debug("%s changed while it was copied", service)
                continue
            digest = hashlib.blake2b(text.encode()).digest()
            if self.written.get(service) != digest:
                fresh = self.folder / f"{service}.json.new"
                fresh.write_text(text)
                fresh.replace(self.folder / f"{service}.json")
                self.written[service] = digest
                saved.append(service)
        return saved

    def run(self, end: threading.Event) -> None:
        """Until the end is set."""
        self.folder.mkdir(parents=True, exist_ok=True)
        seen, idle = -1, 0
        while not end.wait(EVERY):
            if seen == self.requests and idle < AT_LEAST:
                idle += 1
                continue
            seen, idle = self.requests, 0
            try:
                self.save()
            except Exception:  # a full disk must not end the saving for good
                log.exception("the state of the embedded AWS was not saved")
