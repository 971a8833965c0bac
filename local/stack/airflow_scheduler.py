"""`python -m local.stack.airflow_scheduler`: Airflow's scheduler, which imports libraries before it forks its workers.

Each task would import them again, for 0.2 s of CPU, and for 0.6 s with the Kubernetes client. Code of the project is
not among them: tasks import that themselves, so that a change of it counts at once.
"""

import importlib
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


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    from airflow.__main__ import main as airflow

    # without a log server, see local/stack/airflow_logs.py
    sys.argv = ["airflow", "scheduler", "--skip-serve-logs"]
    airflow()


if __name__ == "__main__":
    main()
