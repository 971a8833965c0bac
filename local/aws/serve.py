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

from local.aws import home, root, schedules, tagging
from local.aws import recovery as interrupted
from local.aws.cloudformation import operations_resources as operations  # noqa: F401 - patches of ministack
from local.aws.cloudwatch import embedded_metrics as emf  # noqa: F401 - patches of ministack
from local.aws.ec2 import network_interfaces as networks  # noqa: F401 - patches of ministack
from local.aws.ecr import registry as ecr  # noqa: F401 - patches of ministack
from local.aws.eks import clusters as eks
from local.aws.eks import nodegroups
from local.aws.iam import enforcement  # noqa: F401 - patches of ministack
from local.aws.persistence import Saver
from local.aws.sagemaker import service as sagemaker
from local.stack import config

log = logging.getLogger(__name__)


def wait_until_listening(stack: config.LocalStack) -> None:
    """ministack restores its state before it answers."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{stack.aws_url}/_ministack/health", timeout=5)
            return
        time.sleep(0.1)


def after_start(stack: config.LocalStack, saver: Saver, end: threading.Event) -> None:
    """Bring everything back, say that it is ready, then care for the nodes until the end."""
    try:
        wait_until_listening(stack)
        root.make_bootstrap_user(home.folder(stack))
        interrupted.settle()
        eks.resume()
        threading.Thread(target=saver.run, args=(end,), daemon=True, name="saver").start()
        threading.Thread(target=schedules.run, args=(end, stack.aws_url), daemon=True, name="schedules").start()
        (home.folder(stack) / "ready").touch()
        nodegroups.run(end)
    except Exception:
        log.exception("the embedded AWS cannot go on")
        os._exit(1)  # its supervisor starts it again


def run(stack: config.LocalStack) -> None:
    """Serve on the local stack's port until SIGTERM."""
    folder, end = home.folder(stack), threading.Event()
    saver, jobs = Saver(Path(os.environ["STATE_DIR"])), sagemaker.start(stack)
    sagemaker.register(jobs)
    tagging.collect("sagemaker", lambda: ((arn, tagging.pairs(tags)) for arn, tags in jobs.store.tagged().items()))
    listening = Config()
    listening.bind, listening.loglevel = [f"127.0.0.1:{stack.aws}"], "WARNING"
    listening.graceful_timeout, listening.keep_alive_timeout = 2, 75
    threading.Thread(target=after_start, args=(stack, saver, end), daemon=True, name="nodes").start()
    asyncio.run(listen(saver, listening))  # until SIGTERM; ministack then saves its state
    end.set()
    (folder / "ready").unlink(missing_ok=True)
    jobs.close()
    eks.PLANES.stop_all()
