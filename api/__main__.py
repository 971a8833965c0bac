"""Run the service: load the release's bundle and serve it on $HOST:$PORT until a signal stops the process."""

import logging
import sys

from api.config import Config, load
from api.errors import ConfigError
from api.http.app import create_app
from api.http.auth import Keys
from api.http.server import Server
from api.model.loader import Loader
from api.model.state import State
from api.telemetry.logs import ForwardingHandler, Log
from api.telemetry.metrics import Metrics

EXIT_INVALID_SETTINGS = 2
EXIT_REFUSED = 3


def main() -> int:
    """Serve until stopped. Return 0 after a drain, 2 for an invalid setting, 3 when the model is refused."""
    log = Log()
    try:
        config = load()
        log = Log(level=config.log_level, release=config.release_id, model_version=config.model_version)
        forward_library_logs(config, log)
        keys = Keys(config)
    except ConfigError as error:
        log.event("refused", "ERROR", reason=str(error))
        return EXIT_INVALID_SETTINGS
    return serve(config, log, keys)


def forward_library_logs(config: Config, log: Log) -> None:
    """Write what libraries log, from WARNING or LOG_LEVEL upwards, as lines of `log`."""
    level = max(logging.WARNING, logging.getLevelNamesMapping()[config.log_level])
    logging.basicConfig(level=level, handlers=[ForwardingHandler(log)])


def serve(config: Config, log: Log, keys: Keys) -> int:
    """Load the bundle in the background and serve. Return the exit code of the process."""
    state = State(config)
    metrics = Metrics()
    server = Server(create_app(state, log, metrics, keys), state, log, metrics, keys)
    loader = Loader(state, log, metrics)
    loader.start()
    log.event("listening", host=config.host, port=config.port)
    try:
        server.run()
    finally:
        loader.stop()
        log.event("stopped", refused=state.refusal is not None)
    return EXIT_REFUSED if state.refusal else 0


if __name__ == "__main__":
    sys.exit(main())
