"""Run one DAG in the Airflow that is up, to its end: `make run DAG=train CONF='{"force": true}'`.

A run that asks a person is followed until somebody answered. Only `train` ends with its question: then its model is
registered as PendingManualApproval, and a pipeline has nothing more to do.
"""

import argparse
from typing import Any

from cli.airflow_client import Airflow
from cli.follow import RunError, configuration, follow, run_url
from cli.stack import open_stack
from local.stack import config


def main(arguments: argparse.Namespace) -> None:
    """Start a run and follow it."""
    run(open_stack(), arguments.dag, arguments.conf)


def dags() -> list[str]:
    """Return the ids of the project's DAGs."""
    return sorted(path.stem for path in (config.ROOT / "dags").glob("[a-z]*.py"))


def require_dag(dag: str) -> str:
    """Return the id of a DAG. Raise RunError if there is no such DAG."""
    if dag not in dags():
        raise RunError(f"no DAG is called {dag!r}: make run DAG=…, one of {', '.join(dags())}")
    return dag


def run(stack: config.LocalStack, dag: str, conf: str) -> None:
    """Start a run in the Airflow that is up, and follow it. Raise RunError as `follow` does."""
    require_dag(dag)
    params = configuration(conf)
    airflow = Airflow(stack)
    if airflow.call("GET", f"/dags/{dag}")["is_paused"]:
        raise RunError(f"{dag} is paused, and a paused DAG runs nothing: unpause it in the UI, {stack.airflow_url}")
    try:
        start_and_follow(airflow, dag, params)
    except KeyboardInterrupt:
        print("no longer followed: the run goes on", flush=True)
        raise


def start_and_follow(airflow: Airflow, dag: str, params: dict[str, Any]) -> None:
    """Start a run, print its page and what happens in it, and how it ended."""
    run_id = airflow.trigger(dag, params)
    print(f"{dag}: {run_url(airflow, dag, run_id)}", flush=True)
    print(follow(airflow, dag, run_id, lambda line: print(line, flush=True)), flush=True)
