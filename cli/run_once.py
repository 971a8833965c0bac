"""Run one DAG in an Airflow that is started for this run alone, with no other DAG in it: `make run-once`.

A workflow on GitHub does this, with MLOPS_TARGET=aws.
"""

import argparse
import os
import signal
from collections.abc import Callable

from cli import down, up
from cli.airflow_client import Airflow
from cli.follow import RunError, configuration
from cli.run import require_dag, start_and_follow
from cli.stack import open_stack
from local.stack import config, supervisor
from local.stack.waiting import wait_until

PARSE_TIMEOUT = 60
"""Seconds that Airflow may take to read the DAG."""

Step = Callable[[config.LocalStack], None]


def main(arguments: argparse.Namespace) -> None:
    """Start Airflow, run the DAG, stop Airflow."""
    run_once(open_stack(), arguments.dag, arguments.conf, up.start, down.stop)


def run_once(stack: config.LocalStack, dag: str, conf: str, start: Step, stop: Step) -> None:
    """Run a DAG between `start` and `stop`; `stop` happens whatever happens before."""
    require_dag(dag)
    params = configuration(conf)
    if supervisor.running(stack.state):
        raise RunError(f"an Airflow is up in {stack.state}: `make run` runs the DAG there; or name another LOCAL_STATE")
    os.environ[config.ONLY_DAG] = dag
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled workflow sends it: `stop` comes first
    try:
        start(stack)
        airflow = Airflow(stack)
        _wait_parsed(airflow, dag)
        start_and_follow(airflow, dag, params)
    finally:
        stop(stack)


def _wait_parsed(airflow: Airflow, dag: str, timeout: float = PARSE_TIMEOUT) -> None:
    """Wait until Airflow has read the DAG. Raise RunError with the reason when it cannot."""

    def error() -> RunError:
        return RunError("\n".join([f"Airflow does not know {dag} yet", *airflow.import_errors().values()]))

    wait_until(lambda: dag in airflow.dag_ids(), timeout, every=1.0, error=error)
