"""Open the local stack of this checkout, whose Airflow the commands work with."""

import os

from local.stack import airflow_environment, config


def open_stack() -> config.LocalStack:
    """Return the local stack of this checkout, and put its settings (RETAIL_*) into this process's environment."""
    stack = config.load()
    os.environ |= airflow_environment.retail(stack)
    return stack
