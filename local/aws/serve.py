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
from local.aws import (  # noqa: F401 - patches of ministack
    ecr,
    eks,
    emf,
    enforcement,
    home,
    interrupted,
    log_filter,
    models,
    networks,
    nodegroups,
    operations,
    root,
    sagemaker,
    schedules,
    tagging,
)
from local.aws.persistence import Saver

log = logging.getLogger(__name__)


def wait_until_listening(world: config.World) -> None:
    """ministack restores its state before it answers."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{world.aws_url}/_ministack/health", timeout=5)
            return
        time.sleep(0.1)


def after_start(world: config.World, saver: Saver, end: threading.Event) -> None:
    """Bring everything back, say that it is ready, then care for the nodes until the end."""
    try:
        wait_until_listening(world)
        root.make_bootstrap_user(home.folder(world))
        interrupted.settle()
        eks.resume()
        threading.Thread(target=saver.run, args=(end,), daemon=True, name="saver").start()
        threading.Thread(target=schedules.run, args=(end, world.aws_url), daemon=True, name="schedules").start()
        (home.folder(world) / "ready").touch()
        nodegroups.run(end)
    except Exception:
        log.exception("the embedded AWS cannot go on")
        os._exit(1)  # its supervisor starts it again


def run(world: config.World) -> None:
    """Serve on the world's port until SIGTERM."""
    folder, end = home.folder(world), threading.Event()
    saver, jobs = Saver(Path(os.environ["STATE_DIR"])), sagemaker.start(world)
    sagemaker.register(jobs)
    tagging.collect("sagemaker", lambda: ((arn, tagging.pairs(tags)) for arn, tags in jobs.store.tagged().items()))
    listening = Config()
    listening.bind, listening.loglevel = [f"127.0.0.1:{world.aws}"], "WARNING"
    listening.graceful_timeout, listening.keep_alive_timeout = 2, 75
    threading.Thread(target=after_start, args=(world, saver, end), daemon=True, name="nodes").start()
    asyncio.run(listen(saver, listening))  # until SIGTERM; ministack then saves its state
    end.set()
    (folder / "ready").unlink(missing_ok=True)
    jobs.close()
    eks.PLANES.stop_all()
