"""The target of the commands, and where a local stack keeps its state and listens.

A local stack belongs to one state folder (`.local/` of a checkout, or LOCAL_STATE). Its ports and its block of
127.0.0.0/8 are chosen once, at the first start, and stay: a cluster's tokens and Services contain them. A registry in
the user's cache folder keeps the local stacks of one user apart; `make clean` releases the numbers of a local stack.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream

from include.settings import PREFIX

ROOT = Path(__file__).resolve().parents[2]
MARK = "LOCAL_STACK_DIR"
"""Environment variable that every process of a local stack has, so that it can be found after a kill -9."""

TARGET = "MLOPS_TARGET"
"""What Airflow works on: `local`, the local stack (default), or `aws`, the account that boto3 finds for the caller."""
TARGETS = ("local", "aws")
RETIRED = ("LOCAL_AWS", "LOCAL_WORLD")
"""Earlier spellings of TARGET: refused, so that nobody works on another target than the one they named."""
ONLY_DAG = "LOCAL_ONLY_DAG"
"""The only DAG of an Airflow that was started for one run; unset: all of `dags/`."""
VARIABLES = "PIPELINE_VARIABLES"
"""A pipeline's variables as a JSON object; those named as settings are settings."""

CLUSTER_PORTS = 24  # a control plane's own six, then one a node
BLOCKS = 15  # local stacks on one machine: 127.(16+16*block) and the fifteen second octets after it
DEFAULT_PORTS = {"airflow": 8080, "aws": 4566, "endpoint": 8088}
DEFAULT_KUBE_PORT = 21443


class ConfigError(Exception):
    """Says what is wrong with `.env` or with the machine, and what to do about it."""


def cache_dir() -> Path:
    """Return the folder of built binaries and unpacked assets, which all checkouts of a user share."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "retail-mlops"


def read_env(path: Path) -> dict[str, str]:
    """Return the keys and values of an .env file; {} if there is none. Raise ConfigError for a malformed line.

    $NAME in a value is not replaced: a value means the same wherever the file is read.
    """
    if not path.exists():
        return {}
    env: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for binding in parse_stream(file):
            if binding.key is None and not binding.error:  # a comment, or nothing
                continue
            if binding.error or binding.value is None or not str(binding.key).isidentifier():
                text = binding.original.string
                before = text[: len(text) - len(text.lstrip())]  # dotenv counts blank lines to the line below them
                number = binding.original.line + before.count("\n")
                raise ConfigError(f"{path}:{number}: expected KEY=value, found {text.strip()!r}")
            env[str(binding.key)] = binding.value
    return env


@dataclass(frozen=True)
class LocalStack:
    """A local stack: its state folder, its ports, and the number of its block of loopback addresses."""

    state: Path
    airflow: int
    aws: int
    endpoint: int
    kube: int
    block: int

    @property
    def aws_url(self) -> str:
        return f"http://127.0.0.1:{self.aws}"

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow}"

    @property
    def service_octet(self) -> int:
        """Return the second octet of Service addresses: 10.<octet>.x.y in the API, 127.<octet>.x.y for the proxy."""
        return 16 + 16 * self.block


def free(port: int, address: str = "127.0.0.1") -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def any_free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _registry() -> Iterator[dict[str, dict[str, Any]]]:
    """Give the local stacks of this user by state folder, to be changed; those without a folder are forgotten."""
    path = cache_dir() / "worlds.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stacks = json.loads(path.read_text()) if path.exists() else {}
        stacks = {state: stack for state, stack in stacks.items() if Path(state).is_dir()}
        yield stacks
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(stacks, indent=1))
        fresh.replace(path)


def _number(name: str, text: str, highest: int = 65535) -> int:
    if not text.isdigit() or not 1024 <= int(text) <= highest:
        raise ConfigError(f"LOCAL_{name.upper()}_PORT={text} in .env: a port from 1024 to {highest} is expected")
    return int(text)


def _pick(name: str, wanted: str | None, default: int, taken: set[int]) -> int:
    if wanted:
        return _number(name, wanted)
    if default not in taken and free(default):
        return default
    while (port := any_free_port()) in taken:
        pass
    return port


def _kube_ports(wanted: str | None, known: int | None, block: int, taken: set[int]) -> int:
    """Return the first of CLUSTER_PORTS ports in a row: that of .env, the earlier one, or the first that are free.

    Each block starts its search elsewhere: local stacks of two users, which do not know each other, rarely collide.
    """
    if wanted:
        return _number("kube", wanted, highest=65536 - CLUSTER_PORTS)
    if known:
        return known
    for base in range(DEFAULT_KUBE_PORT + CLUSTER_PORTS * block, 60000, CLUSTER_PORTS):
        ports = range(base, base + CLUSTER_PORTS)
        if taken.isdisjoint(ports) and all(free(port) for port in ports):
            return base
    raise ConfigError(f"no {CLUSTER_PORTS} free ports in a row for a control plane: set the first in LOCAL_KUBE_PORT")


def _block(state: str, taken: set[int]) -> int:
    """Return a block of addresses that no other local stack has, searched from a place that depends on `state`."""
    first = sum(state.encode()) % BLOCKS
    for offset in range(BLOCKS):
        block = (first + offset) % BLOCKS
        if block not in taken:
            return block
    raise ConfigError(f"{BLOCKS} local stacks are registered: run `make clean` in one that you no longer need")


def _variables() -> dict[str, str]:
    """Return the settings among a pipeline's variables, one JSON object. Raise ConfigError when it is not an object."""
    try:
        given = json.loads(os.environ.get(VARIABLES) or "{}").items()
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{VARIABLES} is not a JSON object of names and values: {error}") from error
    return {name: value for name, value in given if name.startswith(PREFIX)}


def _refuse_retired(env: Mapping[str, str], where: object) -> None:
    """Raise ConfigError when an earlier spelling of MLOPS_TARGET is set."""
    for name in RETIRED:
        if value := env.get(name):
            target = "aws" if value in ("account", "aws") else "local"
            raise ConfigError(f"{where}: {name}={value} is no longer read: write {TARGET}={target} instead")


def local_env() -> dict[str, str]:
    """Return `.env` of the checkout, overridden by the settings of a pipeline, overridden by the process environment.

    Raise ConfigError for an unknown LOCAL_* or MLOPS_* key of `.env`, and for an earlier spelling of MLOPS_TARGET.
    """
    env_file = ROOT / ".env"
    env = read_env(env_file)
    _refuse_retired(env, env_file)
    _refuse_retired(os.environ, "environment")
    known = {"LOCAL_STATE", TARGET, "LOCAL_KUBE_PORT", *(f"LOCAL_{name.upper()}_PORT" for name in DEFAULT_PORTS)}
    if unknown := sorted(key for key in env if key.startswith(("LOCAL_", "MLOPS_")) and key not in known):
        raise ConfigError(f"{env_file}: unknown {', '.join(unknown)}; known keys are {', '.join(sorted(known))}")
    return env | _variables() | dict(os.environ)


def on_aws() -> bool:
    """Return whether the target is an AWS account.

    Raise ConfigError when MLOPS_TARGET has another value than those of TARGETS, or when it does not say which account.
    """
    env = local_env()
    target = env.get(TARGET) or "local"
    if target not in TARGETS:
        raise ConfigError(f"{TARGET}={target}: expected {' or '.join(TARGETS)}")
    if target == "aws" and not env.get("RETAIL_ACCOUNT_ID"):
        raise ConfigError(f"{TARGET}=aws: set RETAIL_ACCOUNT_ID, so that it is clear which account")
    return target == "aws"


def state_dir() -> Path:
    """Return the state folder of this checkout's local stack."""
    return Path(local_env().get("LOCAL_STATE") or ROOT / ".local").resolve()


def load(state: Path | None = None) -> LocalStack:
    """Return the local stack of a state folder, registered if it is new. Ports of `.env` (LOCAL_*_PORT) win."""
    state = (state or state_dir()).resolve()
    env = local_env()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _registry() as stacks:
        known = stacks.get(str(state), {})
        others = [stack for name, stack in stacks.items() if name != str(state)]
        taken = {port for stack in others for key, port in stack.items() if key not in ("block", "kube")}
        taken |= {port for stack in others for port in range(stack["kube"], stack["kube"] + CLUSTER_PORTS)}
        numbers = {}
        for name, default in DEFAULT_PORTS.items():
            wanted = env.get(f"LOCAL_{name.upper()}_PORT")
            numbers[name] = known[name] if name in known and not wanted else _pick(name, wanted, default, taken)
            taken.add(numbers[name])
        numbers["block"] = known["block"] if "block" in known else _block(str(state), {w["block"] for w in others})
        numbers["kube"] = _kube_ports(env.get("LOCAL_KUBE_PORT"), known.get("kube"), numbers["block"], taken)
        stacks[str(state)] = numbers
    return LocalStack(state=state, **numbers)


def forget(stack: LocalStack) -> None:
    """Release the local stack's ports and addresses, after its state was removed."""
    with _registry() as stacks:
        stacks.pop(str(stack.state), None)
