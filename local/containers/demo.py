"""The demo against the containers that run: the same life cycle, through the same ports; the result in demo.json."""

import json
import os

from local import config, demo
from local.airflow import environment
from local.airflow.api import Airflow, AirflowError
from local.aws.credentials import session
from local.ingest import IngestError


def main() -> int:
    os.umask(0o077)
    world = config.load()
    os.environ |= environment.retail(world)
    run = demo.Demo(world, Airflow(world), session(world))
    try:
        result = demo.life_cycle(run, os.environ.get("DATA") or None, os.environ.get("APPROVE") == "wait")
    except (demo.DemoError, IngestError, AirflowError) as error:
        print(f"demo stopped: {error}")
        return 1
    (world.state / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    demo.show(result)
    return 0
