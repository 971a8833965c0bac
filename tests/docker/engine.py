"""The Docker client as these tests need it: images built once, containers as Kubernetes and SageMaker restrict them."""

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.listening import Listening
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
USER = "10001:10001"
TAG = "test"
RESTRICTED = (
    "--read-only",
    "--tmpfs",
    "/tmp",
    "--user",
    USER,
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
)


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stderr.strip()}"
    return done


def why_unusable() -> str | None:
    """Why there is no Docker to test with; None if there is."""
    try:
        answer = docker("version", "--format", "{{.Server.Version}}", check=False)
    except FileNotFoundError:
        return "docker is not on PATH"
    return None if answer.returncode == 0 else answer.stderr.strip()


def image(name: str) -> dict[str, Any]:
    return json.loads(docker("image", "inspect", name).stdout)[0]


class Container(Listening):
    """A container that runs until it is removed; `port` is where it serves, if it does."""

    def __init__(self, name: str, *words: str, options: tuple[str, ...] = (), port: int = 0) -> None:
        self.id = f"retail-test-{uuid.uuid4().hex[:12]}"
        self.port = port
        docker("run", "--detach", "--name", self.id, *RESTRICTED, *options, name, *words)

    def inspect(self) -> dict[str, Any]:
        return json.loads(docker("inspect", self.id).stdout)[0]

    @property
    def state(self) -> dict[str, Any]:
        return self.inspect()["State"]

    @property
    def log(self) -> str:
        done = docker("logs", self.id)
        return done.stdout + done.stderr

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    def python(self, code: str) -> str:
        """What a program prints that is run inside it."""
        return docker("exec", self.id, "python", "-c", code).stdout.strip()

    def signal(self, name: str) -> None:
        docker("kill", "--signal", name, self.id)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code."""
        self.until(lambda: self.state["Status"] == "exited", seconds)
        return int(self.state["ExitCode"])

    def until(self, what: Callable[[], Any], seconds: float = 30) -> Any:
        try:
            return until(what, seconds, "the container")
        except AssertionError as late:
            raise AssertionError(f"{late}; log: {self.log[-3000:]}") from None

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.id, check=False)
