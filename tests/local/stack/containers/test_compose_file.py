"""docker-compose.yaml: what every service must have, and what no service may."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.__main__ import COMMANDS as CLI_COMMANDS
from local.stack.containers.__main__ import AIRFLOW, COMMANDS

ROOT = Path(__file__).resolve().parents[4]
TEXT = (ROOT / "docker-compose.yaml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONCE = {"secrets", "kube", "migrate", "demo"}
EACH = pytest.mark.parametrize("name", SERVICES)


def amount(text: str) -> int:
    return int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]


@EACH
def test_it_is_restricted(name: str) -> None:
    service = SERVICES[name]

    assert service["user"] not in ("", "root", "0")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "devices", "pid", "ipc"} & set(service)


@EACH
def test_it_has_limits(name: str) -> None:
    service = SERVICES[name]

    assert amount(service["mem_limit"]) <= 5 * 2**30
    assert service["cpus"] <= 2
    assert service["pids_limit"] <= 4096


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


@EACH
def test_its_image_is_ours_or_the_databases(name: str) -> None:
    assert re.fullmatch(
        r"retail-(airflow|local):\$\{RETAIL_IMAGE_TAG:-latest\}|postgres:16-bookworm", SERVICES[name]["image"]
    )


@EACH
def test_it_comes_back_unless_it_runs_once(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name in ONCE else "unless-stopped")


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - {"postgres"}))
def test_its_command_exists(name: str) -> None:
    commands = CLI_COMMANDS if name == "demo" else (*COMMANDS, *AIRFLOW)
    assert SERVICES[name]["command"][0] in commands


def test_the_demo_is_a_command_of_the_command_line() -> None:
    assert SERVICES["demo"]["entrypoint"] == ["python", "-m", "cli"]
    assert [name for name, service in SERVICES.items() if "entrypoint" in service] == ["demo"]


def test_only_the_gateway_publishes_and_all_but_the_once_only_share_its_network() -> None:
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"gateway"}
    apart = {name for name, service in SERVICES.items() if service.get("network_mode") != "service:gateway"}
    assert apart == {"gateway", "secrets", "postgres", "kube"}


def test_no_service_mounts_the_machine_but_for_the_programs_of_kubernetes() -> None:
    mounts = {mount.partition(":/")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}

    assert mounts == {"state", "secrets", "postgres", "${KUBE_ASSETS:-kube}"}


def test_no_secret_is_written_down() -> None:
    variables = [pair for service in SERVICES.values() for pair in service.get("environment", {}).items()]
    secrets = {value for name, value in variables if re.search("PASSWORD|SECRET|KEY|TOKEN", name)}
    assert secrets == {"/secrets/database", "${AIRFLOW_PASSWORD:-}"}


def test_an_account_takes_only_the_users_own_files_and_read_only() -> None:
    override = yaml.safe_load((ROOT / "docker-compose.aws.yaml").read_text())["services"]

    for name in ("api-server", "dag-processor", "triggerer", "scheduler"):
        assert override[name]["volumes"] == ["${HOME:?}/.aws:/tmp/.aws:ro"]
        assert not [key for key in override[name]["environment"] if re.search("ACCESS|SECRET|TOKEN", key)]
    assert {name for name, service in override.items() if service.get("profiles") == ["embedded"]} == {
        "local",
        "kube",
        "demo",
    }
