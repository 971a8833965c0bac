"""PostgreSQL without root, without TCP, below any folder."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.stack import config, postgres
from local.stack.postgres import Postgres
from tests.waiting import until


def stack_at(state: Path) -> config.LocalStack:
    return config.LocalStack(state, airflow=1, aws=2, endpoint=3, kube=4, block=0)


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rmw-") as folder:
        yield Path(folder)


@contextlib.contextmanager
def serving(database: Postgres) -> Iterator[subprocess.Popen[bytes]]:
    env = os.environ | {config.MARK: str(database.state)}
    process = subprocess.Popen(database.command, env=env, stderr=subprocess.DEVNULL)
    try:
        until(lambda: process.poll() is not None or database.ready(), 20, "the server")
        assert process.poll() is None, "the server ended"
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


def query(database: Postgres, sql: str) -> str:
    psql = [postgres._binaries() / "psql", "-h", database.socket_dir, "-U", "postgres", "-Atc", sql]
    return subprocess.run(psql, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.integration
def test_data_survive_a_restart_and_only_a_socket_listens(state):
    database = Postgres(stack_at(state))
    database.prepare()
    with serving(database) as process:
        query(database, "create table kept as select 42 as answer")
        assert not [one for one in psutil.Process(process.pid).net_connections("inet") if one.status == "LISTEN"]
    database.prepare()
    with serving(database):
        assert query(database, "select answer from kept") == "42"


@pytest.mark.integration
def test_a_server_without_supervisor_is_stopped_cleanly(state):
    database = Postgres(stack_at(state))
    database.prepare()
    with serving(database) as process:
        database.end_leftover()
        assert process.wait(5) == 0
    assert not (database.data / "postmaster.pid").exists()


@pytest.mark.integration
def test_a_stale_pid_file_that_names_a_stranger_ends_nobody(state):
    database = Postgres(stack_at(state))
    database.data.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (database.data / "postmaster.pid").write_text(f"{stranger.pid}\n")
        database.end_leftover()
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.5)
        stranger.kill()


@pytest.mark.integration
def test_a_killed_initdb_is_begun_again(state):
    database = Postgres(stack_at(state))
    half_done = database.data.with_suffix(".new")
    half_done.mkdir(parents=True)
    (half_done / "PG_VERSION").write_text("18\n")
    database.prepare()
    assert (database.data / "global").is_dir()


def test_the_socket_lies_with_the_data_when_its_path_is_short(state):
    database = Postgres(stack_at(state))
    assert database.socket_dir == state / "airflow/pg"


@pytest.mark.integration
def test_a_deep_state_folder_gets_a_short_private_socket_folder(state, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state))
    deep = state / ("d" * 120)
    deep.mkdir()
    database = Postgres(stack_at(deep))
    database.prepare()
    assert len(str(database.socket_dir / ".s.PGSQL.5432")) < 104
    assert database.socket_dir.stat().st_mode & 0o077 == 0
    with serving(database):
        assert query(database, "select 1") == "1"
    database.remove_socket_dir()
    assert not database.socket_dir.exists()


def test_a_socket_folder_of_somebody_else_is_refused(state, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state))
    database = Postgres(stack_at(state / ("d" * 120)))
    elsewhere = state / "elsewhere"
    elsewhere.mkdir()
    database.socket_dir.symlink_to(elsewhere)
    with pytest.raises(config.ConfigError, match="belongs to another user"):
        database.prepare()
