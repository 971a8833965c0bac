"""The embedded AWS, which starts control planes and nodes, in this process."""

import os

from local import config
from local.airflow import environment
from local.aws import __main__ as aws
from local.containers import kube


def main() -> None:
    os.environ["KUBE_ASSETS"] = str(kube.find())
    os.environ |= environment.base(config.load())
    aws.main()
