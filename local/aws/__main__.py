"""`python -m local.aws`: serve this local stack's AWS emulation in the foreground, until SIGTERM."""

import fcntl
import logging
import os
import shutil
import sys
from typing import IO, Final

from include.settings import REGION, settings
from local.aws import home, root
from local.stack import config, processes

GRACE_SECONDS: Final = 5.0
"""Until a process that a killed service left behind is killed, too."""


def acquire_lock(stack: config.LocalStack) -> IO[str]:
    """Return the lock on the state. Raise SystemExit when another process serves it."""
    lock = (home.folder(stack) / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"an AWS emulation runs already on {home.folder(stack)}: `make status` shows it, `make down` ends it")
    return lock


def clean_up(stack: config.LocalStack) -> None:
    """End the processes that a killed service left behind, and remove its unfinished work."""
    folder = home.folder(stack)
    (folder / "ready").unlink(missing_ok=True)
    processes.terminate(processes.marked(home.MARK, str(folder)), GRACE_SECONDS)
    remaining = processes.marked(home.MARK, str(folder))
    if remaining:
        sys.exit(f"processes {remaining} of an earlier AWS emulation do not end: kill them, then start again")
    for unfinished in [*folder.glob("jobs/*"), *folder.glob("images/.pull-*")]:
        shutil.rmtree(unfinished)


def configure(stack: config.LocalStack) -> str:
    """Set the environment, which ministack reads when it is imported. Return root's secret."""
    folder = home.folder(stack)
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[variable]
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
    """Serve until SIGTERM."""
    os.umask(0o077)
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("local").setLevel("INFO")
    stack = config.load()
    home.folder(stack).mkdir(parents=True, exist_ok=True)
    lock = acquire_lock(stack)
    clean_up(stack)
    root.configure(stack.aws_url, configure(stack))
    from local.aws import serve  # after the environment is set

    serve.run(stack)
    lock.close()
    os._exit(0)  # at once: other threads may wait for a cluster


if __name__ == "__main__":
    main()
