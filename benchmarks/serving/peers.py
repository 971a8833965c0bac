"""Other model servers with the same forest, each in its own environment (requirements/peers-*.in)."""

import json
from pathlib import Path

from benchmarks.common import cache
from benchmarks.serving.model import Model
from benchmarks.serving.servers import Server, forest_environment


def servers(model: Model) -> list[Server]:
    """Return all of them."""
    return [_mlserver(model), _bentoml(model)]


def _mlserver(model: Model) -> Server:
    folder = _folder("mlserver")
    settings = {"parallel_workers": 0, "debug": False, "metrics_endpoint": None}
    (folder / "settings.json").write_text(json.dumps(settings))
    model_settings = {"name": "forest", "implementation": "benchmarks.serving.peer_mlserver.Basket"}
    (folder / "model-settings.json").write_text(json.dumps(model_settings))
    ports = {"MLSERVER_HOST": "127.0.0.1", "MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "0"}
    command = ["-m", "benchmarks.serving.peer_mlserver", str(folder)]
    return Server("MLServer", "peers-mlserver", command, forest_environment(model) | ports | _home(folder))


def _bentoml(model: Model) -> Server:
    command = ["-m", "bentoml", "serve", "benchmarks.serving.peer_bentoml:Basket"]
    command += ["--host", "127.0.0.1", "--port", "{port}"]
    folder = _folder("bentoml")
    quiet = {"BENTOML_HOME": str(folder), "BENTOML_DO_NOT_TRACK": "True"}
    return Server("BentoML", "peers-bentoml", command, forest_environment(model) | quiet | _home(folder))


def _folder(name: str) -> Path:
    folder = cache() / "peers" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _home(folder: Path) -> dict[str, str]:
    """Return the HOME of a server, below which it writes."""
    return {"HOME": str(folder)}
