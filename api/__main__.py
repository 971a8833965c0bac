"""`python -m api`: load the release's bundle and serve it on $HOST:$PORT until told to leave."""

import logging
import sys

from api.config import load
from api.errors import ConfigError
from api.http.app import create_app
from api.http.auth import Keys
from api.http.server import Server
from api.model.loader import Loader
from api.model.state import State
from api.telemetry.logs import Forward, Log
from api.telemetry.metrics import Metrics

BAD_SETTINGS, REFUSED = 2, 3


def main() -> int:
    """0 after an orderly drain, 2 when a setting is wrong, 3 when the model must not be served."""
    try:
        config = load()
    except ConfigError as error:
        Log().event("refused", "ERROR", reason=str(error))
        return BAD_SETTINGS
    log = Log(level=config.log_level, release=config.release_id, model_version=config.model_version)
    logging.basicConfig(
        level=max(logging.WARNING, logging.getLevelNamesMapping()[config.log_level]), handlers=[Forward(log)]
    )
    state, metrics = State(config), Metrics()
    try:
        keys = Keys(config)
    except ConfigError as error:
        log.event("refused", "ERROR", reason=str(error))
        return BAD_SETTINGS
    server = Server(create_app(state, log, metrics, keys), state, log, metrics, keys)
    loader = Loader(state, log, metrics)
    loader.start()
    log.event("listening", host=config.host, port=config.port)
    try:
        server.run()
    finally:
        loader.stop()
        log.event("stopped", refused=state.refusal is not None)
    return REFUSED if state.refusal else 0


if __name__ == "__main__":
    sys.exit(main())
