"""uvicorn with a drain: after a signal the process reports itself unready, closes kept connections, then exits."""

import time
from functools import partial
from types import FrameType

import uvicorn

from api.http.auth import Keys
from api.http.gateway import Gateway
from api.http.protocol import PredictionQueue, Protocol
from api.model.state import State
from api.telemetry.logs import Log
from api.telemetry.metrics import Metrics

GRACE_SECONDS = 20
"""For requests that still run when the listening socket closes."""
TICKS_PER_SECOND = 10
"""How often uvicorn calls on_tick."""


class Server(uvicorn.Server):
    """Serve until a signal, or until the model is refused.

    After the first SIGTERM or SIGINT, /ready answers 503 and every answer carries `Connection: close` for
    `drain_seconds`, so that clients move to another pod before their connections end. A second signal stops the process
    at once. The server is also the clock of the process: it writes the log buffer and the metrics of each minute.
    """

    def __init__(self, app: Gateway, state: State, log: Log, metrics: Metrics, keys: Keys) -> None:
        config = state.config
        protocol = partial(Protocol, queue=PredictionQueue(app), metrics=metrics, limits=config)
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                loop="uvloop",
                http=protocol,  # type: ignore[arg-type] # uvicorn asks for a class, and only calls it
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
        self._state = state
        self._log = log
        self._metrics = metrics
        self._keys = keys
        self._exit_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain at the first signal, exit at the second.

        This runs in a signal handler and only sets attributes: taking the lock of the log could block for ever.
        """
        if self._state.draining:
            self.should_exit = True
        else:
            self._state.draining = True
            self._exit_at = time.monotonic() + self._state.config.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Do the periodic work and return whether to exit."""
        self._log.flush()
        drained = self._exit_at is not None and time.monotonic() >= self._exit_at
        if drained or self._state.refusal is not None:
            self.should_exit = True
        if counter % TICKS_PER_SECOND == 0 or self.should_exit:
            self._keys.refresh(self._log.event)
            self._metrics.ready.set(int(self._state.ready))
            release = {"Release": self._state.config.release_id}
            if document := self._metrics.window.take(force=self.should_exit, **release):
                self._log.raw(document)
        return await super().on_tick(counter)
