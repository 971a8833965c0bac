"""Airflow's environment for tests: a home of its own, this checkout's DAGs and plugins; import before airflow."""

import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def prepare() -> None:
    """Sets what Airflow reads at import. Nothing here reaches AWS: the connections hold made-up keys."""
    home = tempfile.mkdtemp(prefix="retail-airflow-")
    connection = json.dumps(
        {"conn_type": "aws", "login": "AKIATEST", "password": "secret", "extra": {"region_name": "ap-southeast-1"}}
    )
    for name in [name for name in os.environ if name.startswith(("RETAIL_", "AIRFLOW"))]:
        del os.environ[name]
    os.environ |= {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW_CONN_AWS_DEFAULT": connection,
        "AIRFLOW_CONN_AWS_ADMIN": connection,
        "AWS_DEFAULT_REGION": "ap-southeast-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for path in (ROOT, ROOT / "plugins"):
        if str(path) not in sys.path:
            sys.path.insert(0, str(path))
