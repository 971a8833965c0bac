"""The commands on a real local stack: PostgreSQL, Airflow and the AWS emulation, without a cluster."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.airflow_client import Airflow, AirflowError
from local.stack import config, processes, supervisor
from tests.waiting import until

pytestmark = pytest.mark.integration

PYTHON = config.ROOT / ".venv/local-aws/bin/python"
SERVICES = ["embedded-aws", "postgres", "api-server", "scheduler", "dag-processor", "triggerer"]


@dataclass(frozen=True)
class Commands:
    """`python -m cli …` on a state folder."""

    state: Path

    @property
    def env(self) -> dict[str, str]:
        ours = ("LOCAL_", "MLOPS_", "RETAIL_", "AWS_", "AIRFLOW")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return kept | {"LOCAL_STATE": str(self.state), "COLUMNS": "200"}

    def start(self, *args: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([PYTHON, "-m", "cli", *args], cwd=config.ROOT, env=self.env, **pipes)

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        with self.start(*args) as process:
            try:
                out, err = process.communicate(timeout=240)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def ok(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        return supervisor.read_status(self.state)

    def members(self) -> list[int]:
        return processes.members(str(self.state))

    def ready(self) -> bool:
        return all(service["state"] == "running" for service in self.status().values())


base_env = Commands.env.fget


def new_state() -> Path:
    return Path(tempfile.mkdtemp(prefix="rmw-"))


@pytest.fixture
def down() -> Iterator[Commands]:
    """A local stack that was never started."""
    commands = Commands(new_state())
    yield commands
    commands.run("clean")
    shutil.rmtree(commands.state, ignore_errors=True)


@pytest.fixture(scope="module")
def shared() -> Iterator[Commands]:
    commands = Commands(new_state())
    try:
        commands.ok("up")
        yield commands
    finally:
        commands.run("clean")
        shutil.rmtree(commands.state, ignore_errors=True)


@pytest.fixture
def live(shared: Commands) -> Commands:
    """A local stack in which everything runs."""
    until(shared.ready, 60)
    return shared


# --- without a local stack ---
def test_help_names_every_command():
    shown = subprocess.run([PYTHON, "-m", "cli", "--help"], cwd=config.ROOT, check=True, capture_output=True, text=True)
    for command in ("up", "down", "status", "run", "run-once", "ingest", "image", "token", "aws-env", "clean"):
        assert command in shown.stdout


def test_status_of_a_stopped_stack_fails(down):
    done = down.run("status")
    assert done.returncode == 1
    assert "make up" in done.stdout


def test_down_of_a_stopped_stack_is_fine(down):
    down.ok("down")


@pytest.mark.parametrize(
    ("command", "reason"),
    [("token", "Airflow does not answer"), ("kubeconfig", "no cluster yet"), ("aws-env", "never been started")],
)
def test_a_command_that_needs_the_stack_says_so_in_one_line(down, command, reason):
    done = down.run(command)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_named(down):
    env = down.env | {"RETAIL_REGION": "eu-west-1"}
    done = subprocess.run([PYTHON, "-m", "cli", "up"], cwd=config.ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "RETAIL_REGION" in done.stderr
    assert "Traceback" not in done.stderr
    assert not down.members()


# --- with one ---
def test_up_again_changes_nothing(live):
    before = live.status()
    assert "password" in live.ok("up")
    assert live.status() == before


def test_status_lists_each_service_with_its_pid(live):
    shown = live.ok("status")
    for name in ["supervisor", *SERVICES]:
        assert f"{name} " in shown
        assert str(live.status()[name]["pid"]) in shown


def test_every_listener_is_on_loopback(live):
    found = [
        connection.laddr
        for pid in live.members()
        for connection in psutil.Process(pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(found) >= 2
    assert all(address.ip.startswith("127.") for address in found), found


def test_every_process_carries_the_mark(live):
    whole = {process.pid for process in psutil.Process(live.status()["supervisor"]["pid"]).children(recursive=True)}
    postgres = psutil.Process(live.status()["postgres"]["pid"]).children()  # rename themselves, end with their parent
    ours = whole - {process.pid for process in postgres}
    assert len(ours) >= len(SERVICES)
    assert ours <= set(live.members())


def test_the_dags_import_without_error(live):
    airflow = Airflow(config.load(live.state))
    until(airflow.dag_ids, 60)
    assert airflow.import_errors() == {}


def test_token_is_accepted_and_nothing_else_is(live):
    stack = config.load(live.state)

    def answer(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{stack.airflow_url}/api/v2/dags", headers=headers)
        try:
            return urllib.request.urlopen(request, timeout=20).status
        except urllib.error.HTTPError as error:
            return error.code

    assert answer(live.ok("token").strip()) == 200
    assert answer("invented") in (401, 403)


def test_errors_of_airflow_are_quoted(live):
    airflow = Airflow(config.load(live.state))
    with pytest.raises(AirflowError, match=r"404, .*nothing.* not found"):
        airflow.trigger("nothing")


def test_aws_env_is_the_bootstrap_user(live):
    script = 'eval "$($0 -m cli aws-env)" && "$0" -c "$1"'
    who = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    shown = subprocess.check_output(["sh", "-c", script, PYTHON, who], cwd=config.ROOT, env=live.env, text=True)
    assert shown.strip().endswith(":user/bootstrap")


def test_a_run_is_followed_to_its_end_and_its_failure_is_told(live):
    done = live.ok("run", "provision", "--conf", '{"dry_run": true}')
    assert re.search(r"provision succeeded: \d+ success", done)
    failed = live.run("run", "teardown", "--conf", '{"confirm": "another"}')
    assert failed.returncode == 1
    assert re.search(r"plan_deletion +failed", failed.stdout)
    assert "teardown failed in plan_deletion: http://127.0.0.1:" in failed.stderr


def test_a_paused_dag_is_not_run(live):
    refused = live.run("run", "scale_up")
    assert refused.returncode == 1
    assert "scale_up is paused" in refused.stderr


def test_an_airflow_of_one_run_works_on_the_aws_that_boto3_finds_and_is_gone_afterwards(live, down, monkeypatch):
    """The AWS emulation of the one local stack is the account of the other, which has none."""
    account = dict(line.removeprefix("export ").split("=", 1) for line in live.ok("aws-env").splitlines())
    given = account | {"MLOPS_TARGET": "aws", "RETAIL_ACCOUNT_ID": "123456789012", "RETAIL_POLL_SECONDS": "1"}
    monkeypatch.setattr(Commands, "env", property(lambda self: base_env(self) | given))
    done = down.ok("run-once", "provision", "--conf", '{"dry_run": true}')
    assert re.search(r"provision succeeded: \d+ success", done)
    assert "embedded-aws" not in down.status()
    assert [path.name for path in (down.state / "airflow/dags/provision").glob("*.py")] == ["provision.py"]
    assert down.members() == []


@pytest.mark.faults
@pytest.mark.parametrize("name", SERVICES)
def test_a_killed_service_comes_back_and_status_counts_it(live, name):
    before = live.status()[name]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: live.status()[name]["restarts"] == before["restarts"] + 1 and live.ready(), 60)
    assert live.status()[name]["pid"] != before["pid"]


@pytest.mark.faults
def test_after_a_killed_supervisor_up_replaces_every_process(live):
    before = set(live.members())
    os.kill(live.status()["supervisor"]["pid"], signal.SIGKILL)
    live.ok("up")
    assert not before & set(live.members())


@pytest.mark.faults
def test_after_a_killed_supervisor_down_ends_every_process(down):
    down.ok("up")
    os.kill(down.status()["supervisor"]["pid"], signal.SIGKILL)
    down.ok("down")
    assert not down.members()


def test_two_stacks_run_side_by_side_and_down_ends_only_its_own(live, down):
    down.ok("up")
    here, there = config.load(live.state), config.load(down.state)
    assert {here.airflow, here.aws}.isdisjoint({there.airflow, there.aws})
    began = time.monotonic()
    down.ok("down")
    assert time.monotonic() - began < 40
    assert not down.members()
    assert config.free(there.airflow)
    assert config.free(there.aws)
    live.ok("status")


@pytest.mark.faults
@pytest.mark.parametrize("reached", ["postgres", "api-server"])
def test_ctrl_c_while_starting_takes_everything_down(down, reached):
    starting = down.start("up")
    until(lambda: down.status().get(reached, {}).get("pid"), 60)
    starting.send_signal(signal.SIGINT)
    starting.communicate(timeout=60)
    assert starting.returncode == 130
    assert not down.members()


def test_a_port_that_is_taken_is_named(down):
    stack = config.load(down.state)
    listener = subprocess.Popen([PYTHON, "-m", "http.server", "--bind", "127.0.0.1", str(stack.airflow)], stderr=-3)
    try:
        until(lambda: not config.free(stack.airflow), 10)
        done = down.run("up")
    finally:
        listener.kill()
        listener.wait()
    assert done.returncode == 1
    assert f"port {stack.airflow} is used by another program: set LOCAL_AIRFLOW_PORT" in " ".join(done.stderr.split())


def test_clean_removes_the_state_and_gives_the_numbers_back(down):
    down.ok("up")
    down.ok("clean")
    assert not down.state.exists()
    registry = json.loads((config.cache_dir() / "worlds.json").read_text())
    assert str(down.state) not in registry
