"""`python -m local.aws`: the embedded AWS of this local stack in the foreground, until SIGTERM."""

import fcntl
import logging
import os
import shutil
import sys
from typing import IO

from include.settings import REGION, settings
from local.aws import home, root
from local.stack import config, processes

GRACE = 5.0  # seconds that a leftover of a killed service has to end by itself


def take(stack: config.LocalStack) -> IO[str]:
    """The lock on the state; SystemExit when another process serves it."""
    lock = (home.folder(stack) / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"an embedded AWS runs already on {home.folder(stack)}: `make status` shows it, `make down` ends it")
    return lock


def sweep(stack: config.LocalStack) -> None:
    """End what a killed service left, and remove its half-done work."""
    folder = home.folder(stack)
    (folder / "ready").unlink(missing_ok=True)
    processes.terminate(processes.marked(home.MARK, str(folder)), GRACE)
    if left := processes.marked(home.MARK, str(folder)):
        sys.exit(f"processes {left} of an earlier embedded AWS do not end: end them, then start again")
    for rest in [*folder.glob("jobs/*"), *folder.glob("images/.pull-*")]:
        shutil.rmtree(rest)


def configure(stack: config.LocalStack) -> str:
    """ministack reads its environment when it is imported. Returns root's secret."""
    folder = home.folder(stack)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    secret = root.secret(folder)
    os.environ |= {
        config.MARK: str(stack.state),
        home.MARK: str(folder),
        "GATEWAY_PORT": str(stack.aws),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": settings().account_id,
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": root.KEY,
        "AWS_SECRET_ACCESS_KEY": secret,
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "ministack"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "EKS_BASE_PORT": str(stack.kube),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
    }
    return secret


def main() -> None:
    os.umask(0o077)
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("local").setLevel("INFO")
    stack = config.load()
    home.folder(stack).mkdir(parents=True, exist_ok=True)
    lock = take(stack)
    sweep(stack)
    root.at(stack.aws_url, configure(stack))
    from local.aws import serve  # after the environment is set

    serve.run(stack)
    lock.close()
    os._exit(0)  # without waiting for threads that wait for a cluster


if __name__ == "__main__":
    main()
