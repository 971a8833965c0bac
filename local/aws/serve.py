"""Serve the AWS emulation: restore its state, listen, resume clusters, save, stop.

Import it once the environment is set: ministack reads it at import.
"""

import asyncio
import logging
import math
import os
import threading
import urllib.request
from pathlib import Path
from typing import cast

from hypercorn.asyncio import serve as listen
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework

from local.aws import compatibility, home, recovery, root, schedules
from local.aws.eks import clusters, reconciler, running_planes
from local.aws.patches import install
from local.aws.persistence import Saver
from local.aws.sagemaker import service as sagemaker
from local.stack import config
from local.stack.waiting import wait_until

log = logging.getLogger(__name__)


def run(stack: config.LocalStack) -> None:
    """Serve on the local stack's port until SIGTERM."""
    compatibility.check()
    service = sagemaker.start(stack)
    install(stack, service)
    end = threading.Event()
    saver = Saver(Path(os.environ["STATE_DIR"]))
    threading.Thread(target=_after_start, args=(stack, saver, end), daemon=True, name="nodes").start()
    asyncio.run(listen(cast(ASGIFramework, saver), _listener(stack)))  # until SIGTERM; ministack then saves its state
    end.set()
    (home.folder(stack) / "ready").unlink(missing_ok=True)
    service.close()
    running_planes.planes().stop_all()


def _listener(stack: config.LocalStack) -> Config:
    listener = Config()
    listener.bind = [f"127.0.0.1:{stack.aws}"]
    listener.loglevel = "WARNING"
    listener.graceful_timeout = 2
    listener.keep_alive_timeout = 75
    return listener


def _after_start(stack: config.LocalStack, saver: Saver, end: threading.Event) -> None:
    """Bring everything back, mark the service as ready, then reconcile clusters until the end."""
    try:
        wait_until(lambda: _answers(stack), math.inf, every=0.1)  # it restores its state before it listens
        root.make_bootstrap_user(home.folder(stack))
        recovery.fail_interrupted()
        clusters.resume()
        threading.Thread(target=saver.run, args=(end,), daemon=True, name="saver").start()
        threading.Thread(target=schedules.run, args=(end, stack.aws_url), daemon=True, name="schedules").start()
        (home.folder(stack) / "ready").touch()
        reconciler.run(end)
    except Exception:
        log.exception("the AWS emulation stops after an error; its supervisor starts it again")
        os._exit(1)


def _answers(stack: config.LocalStack) -> bool:
    try:
        urllib.request.urlopen(f"{stack.aws_url}/_ministack/health", timeout=5)
    except OSError:
        return False
    return True
