"""The numbers of a local stack: chosen once, kept, never shared with another local stack of the user."""

import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack import config, kube_cluster
from local.stack.config import ConfigError

CHECKOUT = config.ROOT


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of its own, no .env, no LOCAL_* and MLOPS_* of the caller."""
    for name in [name for name in os.environ if name.startswith(("LOCAL_", "MLOPS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "ROOT", tmp_path / "checkout")
    config.ROOT.mkdir()


@pytest.fixture
def occupied() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def registry() -> dict[str, dict[str, int]]:
    return json.loads((config.cache_dir() / "worlds.json").read_text())


def ports(stack: config.LocalStack) -> set[int]:
    return {stack.airflow, stack.aws, stack.endpoint, *range(stack.kube, stack.kube + config.CLUSTER_PORTS)}


def test_a_stack_keeps_its_numbers(tmp_path: Path) -> None:
    assert config.load(tmp_path / "a") == config.load(tmp_path / "a")


def test_stacks_share_neither_ports_nor_addresses(tmp_path: Path) -> None:
    first, second = config.load(tmp_path / "a"), config.load(tmp_path / "b")
    assert ports(first).isdisjoint(ports(second))
    assert first.block != second.block


def test_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    stack = config.load(tmp_path / "a")
    assert stat.S_IMODE(stack.state.stat().st_mode) == 0o700


def test_the_state_folder_comes_from_the_environment_or_is_in_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.state_dir() == config.ROOT / ".local"
    monkeypatch.setenv("LOCAL_STATE", str(tmp_path / "elsewhere"))
    assert config.load().state == tmp_path / "elsewhere"


def test_a_port_of_the_env_file_wins_over_the_registered_one(tmp_path: Path) -> None:
    before = config.load(tmp_path / "a")
    wanted = config.any_free_port()
    (config.ROOT / ".env").write_text(f"LOCAL_AWS_PORT={wanted}\n")
    after = config.load(tmp_path / "a")
    assert after.aws == wanted
    assert after.airflow == before.airflow


def test_the_environment_wins_over_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = config.any_free_port()
    (config.ROOT / ".env").write_text("LOCAL_AWS_PORT=4999\n")
    monkeypatch.setenv("LOCAL_AWS_PORT", str(wanted))
    assert config.load(tmp_path / "a").aws == wanted


def test_a_default_port_that_is_taken_is_passed_over(
    tmp_path: Path, occupied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(config.DEFAULT_PORTS, "aws", occupied)
    assert config.load(tmp_path / "a").aws != occupied


@pytest.mark.parametrize("wanted", ["80", "65536", "http"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("LOCAL_AIRFLOW_PORT", wanted)
    with pytest.raises(ConfigError, match=f"LOCAL_AIRFLOW_PORT={wanted}.*1024 to 65535"):
        config.load(tmp_path / "a")


def test_a_forgotten_stack_gives_its_numbers_back(tmp_path: Path) -> None:
    stack = config.load(tmp_path / "a")
    config.forget(stack)
    assert registry() == {}


def test_a_stack_whose_folder_is_gone_is_forgotten(tmp_path: Path) -> None:
    config.load(tmp_path / "a").state.rmdir()
    second = config.load(tmp_path / "b")
    assert list(registry()) == [str(second.state)]


def test_one_stack_more_than_there_are_blocks_is_refused(tmp_path: Path) -> None:
    folder = config.cache_dir()
    folder.mkdir(parents=True)
    stacks = {}
    for block in range(config.BLOCKS):
        state = tmp_path / f"local stack-{block}"
        state.mkdir()
        stacks[str(state)] = {"airflow": 1, "aws": 2, "endpoint": 3, "kube": 100 * block, "block": block}
    (folder / "worlds.json").write_text(json.dumps(stacks))
    with pytest.raises(ConfigError, match="make clean"):
        config.load(tmp_path / "one-more")


def test_addresses_of_stacks_and_nodes_never_meet() -> None:
    stacks = [config.LocalStack(Path("/"), 1, 2, 3, 4, block) for block in range(config.BLOCKS)]
    clusters = [kube_cluster.spec(stack, Path("/kube")) for stack in stacks]
    octets = [cluster.service_octet for cluster in clusters]
    octets += [cluster.node("node", slot, {}).pod_octet for cluster in clusters for slot in range(15)]
    assert len(octets) == len(set(octets)) == 16 * config.BLOCKS
    assert min(octets) >= 16
    assert max(octets) <= 255


def test_a_cluster_uses_only_the_ports_of_its_stack() -> None:
    stack = config.LocalStack(Path("/"), 1, 2, 3, 21443, 0)
    last = kube_cluster.spec(stack, Path("/kube")).node("node", 14, {})
    assert last.kubelet_port in range(stack.kube, stack.kube + config.CLUSTER_PORTS)


def test_env_files_have_comments_blank_lines_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# comment\n\nA=1\n  B='two words'\nC=\"x=y\"\nD=\n")
    assert config.read_env(path) == {"A": "1", "B": "two words", "C": "x=y", "D": ""}


def test_values_of_env_files_are_taken_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=a#b\nB=$A and ${A}  # a comment\nexport C=1\n")
    assert config.read_env(path) == {"A": "a#b", "B": "$A and ${A}", "C": "1"}


@pytest.mark.parametrize("line", ["no separator", "9A=1", "a b=1", "A", "=1", "A='x"])
def test_a_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\n\n  \n{line}\n")
    with pytest.raises(ConfigError, match=rf"\.env:4: expected KEY=value, found {re.escape(repr(line))}"):
        config.read_env(path)


def test_a_missing_env_file_is_empty(tmp_path: Path) -> None:
    assert config.read_env(tmp_path / ".env") == {}


# --- the target ---
def test_the_target_is_the_local_stack_by_default() -> None:
    assert not config.on_aws()


def test_the_target_comes_from_the_env_file_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    (config.ROOT / ".env").write_text("MLOPS_TARGET=aws\nRETAIL_ACCOUNT_ID=210987654321\n")
    assert config.on_aws()
    monkeypatch.setenv("MLOPS_TARGET", "local")
    assert not config.on_aws()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LOCAL_AWS=account", "MLOPS_TARGET=aws"),
        ("LOCAL_AWS=embedded", "MLOPS_TARGET=local"),
        ("LOCAL_WORLD=aws", "MLOPS_TARGET=aws"),
    ],
)
def test_an_old_spelling_is_refused_and_the_new_one_named(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (config.ROOT / ".env").write_text(f"{old}\n")
    with pytest.raises(ConfigError, match=rf"\.env: {old} is no longer read: write {new} instead$"):
        config.load()
    (config.ROOT / ".env").unlink()
    monkeypatch.setenv(*old.split("="))
    with pytest.raises(ConfigError, match=f"environment: {old} is no longer read: write {new} instead$"):
        config.on_aws()


@pytest.mark.parametrize("key", ["LOCAL_AIRFLOW_PROT", "MLOPS_TRAGET"])
def test_an_unknown_key_of_the_env_file_is_refused(key: str) -> None:
    (config.ROOT / ".env").write_text(f"{key}=1\n")
    with pytest.raises(ConfigError, match=f"unknown {key}; known keys are .*MLOPS_TARGET"):
        config.local_env()


@pytest.mark.parametrize("name", [".env.example", "docker-compose.aws.yaml", "README.md", "docs/aws.md", "docs/ci.md"])
def test_files_name_the_target_by_its_one_name(name: str) -> None:
    text = (CHECKOUT / name).read_text()
    assert "MLOPS_TARGET" in text
    assert not re.search(r"\bLOCAL_(AWS|WORLD)\b", text)


# --- what a pipeline gives ---
def test_settings_among_a_pipelines_variables_come_between_the_file_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (config.ROOT / ".env").write_text("RETAIL_OWNER=file\nRETAIL_COST_CENTER=file\n")
    given = {"RETAIL_OWNER": "pipeline", "RETAIL_ENVIRONMENT": "pipeline", "LOCAL_STATE": "/elsewhere", "PATH": "x"}
    monkeypatch.setenv(config.VARIABLES, json.dumps(given))
    monkeypatch.setenv("RETAIL_ENVIRONMENT", "process")
    env = config.local_env()
    names = ("RETAIL_COST_CENTER", "RETAIL_OWNER", "RETAIL_ENVIRONMENT")
    assert [env[name] for name in names] == ["file", "pipeline", "process"]
    assert "LOCAL_STATE" not in env
    assert env["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("text", ["{", "[1]", "RETAIL_OWNER=me"])
def test_variables_that_are_no_json_object_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(config.VARIABLES, text)
    with pytest.raises(ConfigError, match="PIPELINE_VARIABLES"):
        config.local_env()
