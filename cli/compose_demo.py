"""The demo against the containers that run: the same life cycle, through the same ports; the result in demo.json."""

import json
import os

from cli import demo
from cli.airflow_client import Airflow, AirflowError
from cli.ingest import IngestError
from local.aws.credentials import session
from local.stack import airflow_environment as environment
from local.stack import config


def main() -> int:
    os.umask(0o077)
    stack = config.load()
    os.environ |= environment.retail(stack)
    run = demo.Demo(stack, Airflow(stack), session(stack))
    try:
        result = demo.life_cycle(run, os.environ.get("DATA") or None, os.environ.get("APPROVE") == "wait")
    except (demo.DemoError, IngestError, AirflowError) as error:
        print(f"demo stopped: {error}")
        return 1
    (stack.state / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    demo.show(result)
    return 0
