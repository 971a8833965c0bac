"""The environment variables of Airflow's processes: everything that this project sets, in one place."""

import json
import os
import secrets
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

from include.settings import REGION, settings
from local.aws.home import write_private
from local.stack import config
from local.stack.postgres import Postgres

USER = "admin"
BIN = config.ROOT / ".venv/airflow/bin"
_OURS = ("AIRFLOW", "AWS_", "RETAIL_", "PYTHON", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Secrets:
    """What Airflow's processes share, created once per local stack."""

    password: str
    fernet_key: str
    jwt_secret: str
    session_key: str


def _fresh() -> Secrets:
    return Secrets(
        password=secrets.token_urlsafe(12),
        fernet_key=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        jwt_secret=secrets.token_urlsafe(64),
        session_key=secrets.token_urlsafe(32),
    )


def load_secrets(stack: config.LocalStack) -> Secrets:
    """Return the local stack's secrets, created at the first call; AIRFLOW_PASSWORD replaces the generated password."""
    path = stack.state / "airflow" / "secrets.json"
    if path.exists():
        kept = Secrets(**json.loads(path.read_text()))
    else:
        kept = _fresh()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, json.dumps(asdict(kept)))
    password = config.local_env().get("AIRFLOW_PASSWORD")
    return Secrets(**asdict(kept) | {"password": password}) if password else kept


def retail(stack: config.LocalStack) -> dict[str, str]:
    """Return RETAIL_* of the local stack. Those of `.env` and of the caller win; on AWS there are no others."""
    given = {name: value for name, value in config.local_env().items() if name.startswith("RETAIL_")}
    if config.on_aws():
        return given
    defaults = {
        "RETAIL_OVERLAY": "embedded",
        "RETAIL_POLL_SECONDS": "1",
        "RETAIL_WAIT_IN_TASK_SECONDS": "5",  # most jobs and stacks are over sooner: no trigger, no second process
        "RETAIL_BAKE_SECONDS": "15",
        "RETAIL_ENDPOINT_PORT": str(stack.endpoint),
        "RETAIL_REQUIRE_IMAGE_SCAN": "false",
    }
    return defaults | given


def base(stack: config.LocalStack) -> dict[str, str]:
    """Return what every process gets: the caller's environment without the variables of Python, AWS and Airflow.

    On AWS the caller's AWS_* say who the caller is, and stay.
    """
    steering = tuple(prefix for prefix in _OURS if not (prefix == "AWS_" and config.on_aws()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    bypass = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1", "localhost"]))
    ours = {config.MARK: str(stack.state), "LOCAL_STATE": str(stack.state), "NO_PROXY": bypass, "no_proxy": bypass}
    return kept | ours | retail(stack)


def connection(keys: dict[str, str], role: str | None = None) -> str:
    """Return an AWS connection as Airflow reads it from AIRFLOW_CONN_*; the endpoint comes from AWS_ENDPOINT_URL.

    Without keys boto3 looks for them in variables, profile and SSO.
    """
    extra = {"region_name": REGION} | ({"role_arn": role} if role else {})
    login = {"login": keys["AWS_ACCESS_KEY_ID"], "password": keys["AWS_SECRET_ACCESS_KEY"]} if keys else {}
    return json.dumps({"conn_type": "aws", **login, "extra": extra})


def _dags(stack: config.LocalStack) -> Path:
    """Return the DAGs folder: that of the checkout, or one with a single DAG, so that no other DAG's schedule runs."""
    dags = config.ROOT / "dags"
    if not (only := os.environ.get(config.ONLY_DAG)):
        return dags
    folder = stack.state / "airflow" / "dags" / only
    folder.mkdir(parents=True, exist_ok=True)
    if not (link := folder / f"{only}.py").exists():
        link.symlink_to(dags / link.name)
    return folder


def airflow(stack: config.LocalStack) -> dict[str, str]:
    """Return Airflow's variables without its AWS connections, which need the AWS emulation to have started once."""
    home = stack.state / "airflow" / "home"
    secret = load_secrets(stack)
    passwords = stack.state / "airflow" / "passwords.json"
    home.mkdir(parents=True, exist_ok=True)
    write_private(passwords, json.dumps({USER: secret.password}))
    inherited = base(stack)
    return inherited | {
        # The provider's EKS operators run `python3.11` of PATH, which must be the one that has Airflow.
        "PATH": f"{BIN}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "PYTHONPATH": str(config.ROOT),
        "SPT_NOENV": "1",  # setproctitle would overwrite the environment in /proc, and the mark with it
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_dags(stack)),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(config.ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",  # the default forks 32 workers
        "AIRFLOW__CORE__FERNET_KEY": secret.fernet_key,
        "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{stack.airflow_url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__AWS__SESSION_FACTORY": "retail_mlops.hooks.sessions.SharedSessionFactory",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(stack.airflow),
        "AIRFLOW__API__BASE_URL": stack.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secret.session_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": secret.jwt_secret,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": Postgres(stack).url,
        # A new or changed DAG file shows after the first, not after five minutes. The second is for what DAG files
        # import: the default, 30 s, keeps 15 % of a core busy.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "local.stack.airflow_logs.LOGGING_CONFIG",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(stack.state / "airflow" / "logs"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",  # what a task waits for; the default is 1 s
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",  # tasks of a killed scheduler are retried soon
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # A finished task holds its slot for one interval, and an approval given within it fails (Airflow 3.3.2).
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    }


def with_aws(stack: config.LocalStack, bootstrap: dict[str, str]) -> dict[str, str]:
    """Return Airflow's variables with region, endpoint and the connections of the user `bootstrap`.

    `bootstrap` is empty on AWS, where the endpoints are boto3's own.
    """
    emulation = {"AWS_ENDPOINT_URL": stack.aws_url, "AWS_EC2_METADATA_DISABLED": "true"}
    endpoint = {} if config.on_aws() else emulation
    return (
        airflow(stack)
        | endpoint
        | {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AIRFLOW_CONN_AWS_ADMIN": connection(bootstrap),
            "AIRFLOW_CONN_AWS_DEFAULT": connection(bootstrap, settings().role("airflow")),
        }
    )
