"""Run the AWS emulation, which starts control planes and nodes, in this process."""

import os

from local.aws import __main__ as aws
from local.stack import airflow_environment as environment
from local.stack import config
from local.stack.containers import kube


def main() -> None:
    """Run until SIGTERM."""
    stack = config.load()  # first: `find` may point the cache to /kube, which is read-only here
    os.environ["KUBE_ASSETS"] = str(kube.find())
    os.environ |= environment.base(stack)
    aws.main()
