"""Own the processes of a local stack: start them in order, restart what ends, stop them in order.

`python -m local.stack.supervisor` runs until SIGTERM. While it runs, it holds `<state>/supervisor.lock` with its pid.
`<state>/status.json` has what runs: name → {state, pid, restarts, port, log}, with `supervisor` among the names.
"""

import contextlib
import fcntl
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.aws.credentials import client_env
from local.stack import airflow_environment as environment
from local.stack import airflow_services as services
from local.stack import config, processes
from local.stack.postgres import Postgres
from local.stack.service import Service, kill_group, log_tail

AWS = "embedded-aws"
TICK = 0.2
LOCK_ATTEMPTS = 10
START_TIMEOUT = 240
"""Seconds that a service may take to become healthy at the first start."""
START_ATTEMPTS = 4
"""Ends before the first success after which the local stack gives up, and reports why."""


class Stop(Exception):
    """SIGTERM or SIGINT was received."""


class StartError(Exception):
    """Says why the local stack did not start."""


# --- the lock and the status file, also for those who ask ---
def _lock_file(state: Path) -> Path:
    return state / "supervisor.lock"


def running(state: Path) -> int | None:
    """Return the supervisor's pid, or None when no supervisor runs."""
    path = _lock_file(state)
    if not path.exists():
        return None
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def read_status(state: Path) -> dict[str, dict[str, Any]]:
    """Return the content of the status file; {} when nothing was ever started."""
    path = state / "status.json"
    status: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    return status


@contextlib.contextmanager
def locked(state: Path) -> Iterator[bool]:
    """Hold the lock while the block runs; give False when another supervisor has it."""
    with _lock_file(state).open("a+") as file:
        for _ in range(LOCK_ATTEMPTS):  # `running` holds it for a moment, too
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(TICK)
        else:
            yield False
            return
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def end_leftovers(stack: config.LocalStack) -> None:
    """End what runs of this local stack without a supervisor, PostgreSQL in order. The caller must hold the lock."""
    database = Postgres(stack)
    database.end_leftover()
    processes.terminate(processes.members(str(stack.state)), grace=5)
    database.forget_pid()


class Supervisor:
    """The services of one local stack."""

    def __init__(self, stack: config.LocalStack):
        self.stack = stack
        self.stopping = False
        self.state = "starting"
        self.reason = ""
        self.written = ""
        self.log_dir = stack.state / "log"
        self.log_dir.mkdir(exist_ok=True)
        self.database = Postgres(stack)
        self.services = {service.name: service for service in self._services()}

    def _services(self) -> Iterator[Service]:
        stack, ready = self.stack, self.stack.state / "aws" / "ready"
        python = str(config.ROOT / ".venv/local-aws/bin/python")
        if not config.on_aws():
            yield Service(
                AWS,
                [python, "-m", "local.aws"],
                env=lambda: environment.base(stack),
                healthy=lambda started: ready.exists() and ready.stat().st_mtime >= started - 1,
                log=self.log_dir / f"{AWS}.log",
                port=stack.aws,
                grace=15,
            )
        yield Service(
            "postgres",
            self.database.command,
            env=lambda: environment.base(stack),
            healthy=lambda _: self.database.ready(),
            log=self.log_dir / "postgres.log",
            stop_signal=signal.SIGINT,  # PostgreSQL's fast shutdown
            grace=10,
        )
        for name, command in services.COMMANDS.items():
            yield Service(
                name,
                command,
                env=lambda: environment.with_aws(stack, {} if config.on_aws() else client_env(stack)),
                healthy=functools.partial(services.healthy, stack, name),
                log=self.log_dir / f"{name}.log",
                port=stack.airflow if name == "api-server" else None,
            )

    # --- life ---
    def run(self) -> int:
        """Run until SIGTERM and return 0, or 1 when the local stack did not start."""
        try:
            self._start()
            self.state = "running"
            while True:
                self._tick()
        except Stop:
            return 0
        except (StartError, config.ConfigError) as error:
            self.reason = str(error)
            print(f"did not start: {error}", flush=True)
            return 1
        finally:
            self._stop()

    def request_stop(self, *_: object) -> None:
        """Stop at the next turn: the handler of signals."""
        self.stopping = True

    def _start(self) -> None:
        self._write()
        end_leftovers(self.stack)
        for name, port in (("AIRFLOW", self.stack.airflow), ("AWS", self.stack.aws)):
            if not config.free(port):
                raise StartError(f"port {port} is used by another program: set LOCAL_{name}_PORT in .env")
        (self.stack.state / "aws" / "ready").unlink(missing_ok=True)
        emulation = [AWS] if AWS in self.services else []
        for name in emulation:
            self.services[name].start()
        self.database.prepare()
        self.services["postgres"].start()
        self._until_running("postgres")
        self._migrate()
        self._until_running(*emulation)
        # The scheduler comes when the API answers: its tasks talk to it.
        for name in ("api-server", "dag-processor", "triggerer"):
            self.services[name].start()
        self._until_running("api-server")
        self.services["scheduler"].start()
        self._until_running(*self.services)

    def _migrate(self) -> None:
        migration = services.Migration(self.stack)
        if not migration.needed:
            return
        log = self.log_dir / "migrate.log"
        process = migration.start(log)
        try:
            while process.poll() is None:
                self._tick()
        finally:
            kill_group(process)
        if process.returncode:
            raise StartError(f"`airflow db migrate` failed; the end of {log}:\n{log_tail(log)}")
        migration.done()

    def _until_running(self, *names: str) -> None:
        until = time.monotonic() + START_TIMEOUT
        while late := [name for name in names if self.services[name].state != "running"]:
            for service in (self.services[name] for name in late):
                if service.failures >= START_ATTEMPTS and not service.was_healthy:
                    raise StartError(f"{service.name} ends at once; the end of {service.log}:\n{log_tail(service.log)}")
            if time.monotonic() > until:
                log = self.services[late[0]].log
                raise StartError(
                    f"{', '.join(late)}: not healthy after {START_TIMEOUT} s; the end of {log}:\n{log_tail(log)}"
                )
            self._tick()

    def _tick(self) -> None:
        for service in self.services.values():
            if self.stopping:
                raise Stop
            service.watch()
        self._write()
        time.sleep(TICK)

    def _stop(self) -> None:
        """Stop the scheduler first, while the API answers its tasks, and AWS last, where tasks stop their jobs."""
        self.state = "failed" if self.reason else "stopping"
        for names in (("scheduler",), ("api-server", "dag-processor", "triggerer"), ("postgres",), (AWS,)):
            group = [self.services[name] for name in names if name in self.services]
            for service in group:
                service.signal_stop()
            self._write()
            until = time.monotonic() + max((service.grace for service in group), default=0)
            for service in group:
                service.wait_stopped(until)
        processes.terminate(processes.members(str(self.stack.state)), grace=3)
        self.state = "failed" if self.reason else "stopped"
        self._write()

    def _write(self) -> None:
        own = {
            "state": self.state,
            "pid": os.getpid(),
            "reason": self.reason,
            "log": str(self.log_dir / "supervisor.log"),
        }
        status = {"supervisor": own} | {name: service.describe() for name, service in self.services.items()}
        if (text := json.dumps(status, indent=1)) != self.written:
            fresh = self.stack.state / "status.new"
            fresh.write_text(text)
            fresh.replace(self.stack.state / "status.json")
            self.written = text


def main() -> int:
    """Run the supervisor, unless another one does."""
    stack = config.load()
    os.environ |= environment.retail(stack)
    with locked(stack.state) as has_lock:
        if not has_lock:
            return 0
        supervisor = Supervisor(stack)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.request_stop)
        return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
