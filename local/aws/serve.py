"""The life of the embedded AWS: restore, listen, resume clusters, save, stop. Imported once the environment is set."""

import asyncio
import contextlib
import logging
import os
import threading
import time
import urllib.request
from pathlib import Path

from hypercorn.asyncio import serve as listen
from hypercorn.config import Config

from local import config
from local.aws import home, pins, root  # noqa: F401 - pins first: it refuses another ministack

from ministack.core import iam_evaluator  # isort: skip

from local.aws.persistence import Saver  # isort: skip

log = logging.getLogger(__name__)

iam_evaluator._is_root_key = lambda key: False  # ministack checks every signature but root's; here root's too


def wait_until_listening(world: config.World) -> None:
    """ministack restores its state before it answers."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{world.aws_url}/_ministack/health", timeout=5)
            return
        time.sleep(0.1)


def after_start(world: config.World, saver: Saver, end: threading.Event) -> None:
    try:
        wait_until_listening(world)
        root.make_bootstrap_user(home.folder(world))
        (home.folder(world) / "ready").touch()
        saver.run(end)
    except Exception:
        log.exception("the embedded AWS cannot go on")
        os._exit(1)  # its supervisor starts it again


def run(world: config.World) -> None:
    """Serve on the world's port until SIGTERM."""
    folder, end = home.folder(world), threading.Event()
    saver = Saver(Path(os.environ["STATE_DIR"]))
    listening = Config()
    listening.bind, listening.loglevel = [f"127.0.0.1:{world.aws}"], "WARNING"
    listening.graceful_timeout, listening.keep_alive_timeout = 2, 75
    threading.Thread(target=after_start, args=(world, saver, end), daemon=True, name="after-start").start()
    asyncio.run(listen(saver, listening))  # until SIGTERM; ministack then saves its state
    end.set()
    (folder / "ready").unlink(missing_ok=True)
