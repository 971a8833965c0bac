"""uvicorn that leaves politely: first unready and closing connections, a few seconds later gone."""

import time
from functools import partial
from types import FrameType

import uvicorn

from api.http.auth import Keys
from api.http.gateway import Gateway
from api.http.protocol import Protocol, Queue
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics

GRACE_SECONDS = 20  # for requests that still run when the listening socket closes


class Server(uvicorn.Server):
    """On the first SIGTERM or SIGINT: /ready answers 503 and every answer carries `Connection: close`, for
    `drain_seconds`, so that clients with kept connections move on before they are cut. A second signal leaves at once.
    Also the process's clock: writes buffered log lines and the minute's metrics. Exits when the model is refused."""

    def __init__(self, app: Gateway, state: State, log: Log, metrics: Metrics, keys: Keys) -> None:
        config = state.config
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                loop="uvloop",
                http=partial(Protocol, queue=Queue(app), metrics=metrics, limits=config),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=config.keep_alive_seconds,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._state, self._log, self._metrics, self._keys = state, log, metrics, keys
        self._leave_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Only sets attributes: a signal handler that took the log's lock could wait for itself for ever."""
        if self._state.draining:
            self.should_exit = True
        else:
            self._state.draining = True
            self._leave_at = time.monotonic() + self._state.config.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        self._log.flush()
        leaving = self._leave_at is not None
        if leaving and time.monotonic() >= (self._leave_at or 0):
            self.should_exit = True
        self.should_exit = self.should_exit or self._state.refusal is not None
        if counter % 10 == 0 or self.should_exit:
            self._keys.refresh(self._log.event)
            self._metrics.ready.set(int(self._state.ready))
            release = {"Release": self._state.config.release_id}
            if document := self._metrics.window.take(force=self.should_exit, **release):
                self._log.raw(document)
        return await super().on_tick(counter)
