"""`python -m local.stack.airflow_scheduler`: Airflow's scheduler, which imports libraries before it forks its workers.

Each task would import them again, for 0.2 s of CPU, and for 0.6 s with the Kubernetes client. What is edited is not
among them: tasks import DAGs and what they use themselves, so that a change counts at once.
"""

import importlib
import inspect
import sys
from typing import Final

LIBRARIES: Final = (
    "airflow.providers.amazon.aws.hooks.eks",
    "airflow.providers.amazon.aws.operators.sagemaker",
    "airflow.providers.amazon.aws.sensors.s3",
    "airflow.providers.standard.operators.hitl",
    "airflow.sdk.execution_time.task_runner",
    "kubernetes.client",
    "kubernetes.dynamic",
    "pydantic_settings",
)


SERVICES: Final = ("sts", "s3", "sagemaker", "logs", "ecr", "eks", "cloudformation")
"""Of AWS, whose descriptions most tasks read."""


def preload() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    importlib.import_module("retail_mlops.hooks.sessions").preload(SERVICES)
    # The provider's hooks call this for each client, to name the caller to AWS (amazon 9.39): the first call in a
    # process looks up the files of all modules, 0.1 s of CPU.
    inspect.stack()


def main() -> None:
    preload()
    from airflow.__main__ import main as airflow

    # without a log server, see local/stack/airflow_logs.py
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()


if __name__ == "__main__":
    main()
