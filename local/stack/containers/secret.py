"""Create what the containers share: the database's password, and Airflow's secrets (JWT, Fernet, session, login).

Random, in volumes, in no file of the checkout and in no variable of the compose file.
"""

import os
import secrets
from pathlib import Path

from local.aws.home import write_private
from local.stack import config
from local.stack.airflow_environment import load_secrets

DATABASE_PASSWORD = Path("/secrets/database")


def main() -> None:
    """Create what does not exist yet."""
    os.umask(0o077)
    load_secrets(config.load())
    if not DATABASE_PASSWORD.exists():
        write_private(DATABASE_PASSWORD, secrets.token_urlsafe(32))
    DATABASE_PASSWORD.chmod(0o440)  # the database's user has this group as well
