"""Save what changed every few seconds, so that a kill -9 costs seconds of AWS state.

ministack itself saves everything, but only when it stops cleanly. S3 objects and SageMaker are on disk at once.
"""

import hashlib
import json
import logging
import threading
from pathlib import Path
from typing import Final

from ministack import app
from ministack.core import persistence

from local.aws.iam import role_sessions as roles

log = logging.getLogger(__name__)

SAVE_SECONDS: Final = 3.0
IDLE_ROUNDS: Final = 10
"""After so many rounds without a request it saves anyway: alarms and node groups change state by themselves."""


class Saver:
    """Writes the files of the services whose state has changed; the ASGI application in front of ministack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: dict[str, bytes] = {}
        self.requests = 0

    async def __call__(self, scope: roles.Message, receive: roles.Receive, send: roles.Send) -> None:
        """Answer a request, and count it: without requests, little changes."""
        await roles.answer(scope, receive, send)
        self.requests += 1

    def save(self) -> list[str]:
        """Write the state of each service that changed; return their names."""
        saved = []
        for service, state_of in app._build_persistence_save_dict().items():
            try:
                state = state_of()
                if state is None:
                    continue
                document = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
                text = json.dumps(document, default=persistence._json_default)
            except RuntimeError:  # a dictionary grew while it was copied: the next round saves it
                log.debug("%s changed while it was copied", service)
                continue
            digest = hashlib.blake2b(text.encode()).digest()
            if self.written.get(service) != digest:
                temporary = self.folder / f"{service}.json.new"
                temporary.write_text(text)
                temporary.replace(self.folder / f"{service}.json")
                self.written[service] = digest
                saved.append(service)
        return saved

    def run(self, end: threading.Event) -> None:
        """Save until the end is set."""
        self.folder.mkdir(parents=True, exist_ok=True)
        saved_requests, idle_rounds = -1, 0
        while not end.wait(SAVE_SECONDS):
            if saved_requests == self.requests and idle_rounds < IDLE_ROUNDS:
                idle_rounds += 1
                continue
            saved_requests, idle_rounds = self.requests, 0
            try:
                self.save()
            except Exception:  # a full disk must not end this loop
                log.exception("the state of the AWS emulation was not saved in %s; the next try follows", self.folder)
