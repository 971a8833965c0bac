"""Tasks of `provision`: what a fresh cluster gets before anything is deployed."""

from typing import Any

import yaml
from airflow.sdk import Context

from retail_mlops.dag_defaults import ROOT


def bootstrap(context: Context, jinja_env: Any = None) -> list[dict[str, Any]]:
    """Namespace with Pod Security restricted, quotas, network rules, and what Airflow's role may do."""
    text = (ROOT / "k8s" / "bootstrap.yaml").read_text()
    return [document for document in yaml.safe_load_all(text) if document]
