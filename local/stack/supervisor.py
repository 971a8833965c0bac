"""Owns the processes of a local stack: starts them in order, restarts what dies, stops them in order.

`python -m local.stack.supervisor` runs until SIGTERM. While it runs, it holds `<state>/supervisor.lock` with its pid;
`<state>/status.json` tells what runs: name -> {state, pid, restarts, port, log}, with `supervisor` among the names.
"""

import contextlib
import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.aws.credentials import client_env
from local.stack import airflow_environment as environment
from local.stack import airflow_services as services
from local.stack import config, processes
from local.stack.postgres import Postgres

AWS = "embedded-aws"
TICK = 0.2
LOCK_ATTEMPTS = 10
PATIENCE = 240
"""Seconds that a service may take to become healthy at the first start."""
START_ATTEMPTS = 4
"""Deaths before the first success after which the local stack gives up, and says why."""
BACKOFF = (1, 2, 4, 8, 15, 30)
"""Seconds before the first, second, … restart; a service that lived for STEADY seconds starts over."""
STEADY = 60


class Stop(Exception):
    """SIGTERM or SIGINT came."""


class StartError(Exception):
    """Why the local stack did not come up."""


@dataclass
class Service:
    """A child process that is kept alive."""

    name: str
    command: list[str]
    env: Callable[[], dict[str, str]]
    healthy: Callable[[float], bool]
    """Given the time of the start, whether it works."""
    log: Path
    port: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10
    """Seconds from the signal to SIGKILL."""
    state: str = "waiting"
    restarts: int = 0
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    retry_at: float = 0
    deaths: int = 0
    """Since it last was steady."""
    was_healthy: bool = False

    def start(self) -> None:
        self.started = time.time()
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=config.ROOT,
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,
            )
        self.state = "starting"

    def watch(self) -> None:
        """Notice health, death and the time of the next attempt."""
        if self.process is None:
            return
        if self.state == "restarting":
            if time.time() >= self.retry_at:
                self.restarts += 1
                self.start()
        elif (code := self.process.poll()) is not None:
            self._died(code)
        elif self.state == "starting" and self.healthy(self.started):
            self.state, self.was_healthy = "running", True

    def _died(self, code: int) -> None:
        lived = time.time() - self.started
        self.deaths = 1 if lived > STEADY else self.deaths + 1
        delay = BACKOFF[min(self.deaths, len(BACKOFF)) - 1]
        print(f"{self.name} ended with {code} after {lived:.0f} s; next start in {delay} s", flush=True)
        _kill_group(self.process)
        self.state, self.retry_at = "restarting", time.time() + delay

    def signal_stop(self) -> None:
        self.state = "stopping"
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)

    def wait_stopped(self, until: float) -> None:
        if self.process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(max(0, until - time.monotonic()))
            _kill_group(self.process)
        self.state = "stopped"

    def describe(self) -> dict[str, Any]:
        alive = self.process is not None and self.process.poll() is None
        return {
            "state": self.state,
            "pid": self.process.pid if self.process and alive else None,
            "restarts": self.restarts,
            "port": self.port,
            "log": str(self.log),
        }


def _kill_group(process: subprocess.Popen[bytes] | None) -> None:
    """SIGKILL to what is left of a child's process group, and to the child."""
    if process:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_lines(log: Path, count: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""


# --- the lock and the status file, also for those who ask ---
def _lock_file(state: Path) -> Path:
    return state / "supervisor.lock"


def running(state: Path) -> int | None:
    """The supervisor's pid, or None when no supervisor lives."""
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
    path = state / "status.json"
    return json.loads(path.read_text()) if path.exists() else {}


@contextlib.contextmanager
def locked(state: Path) -> Iterator[bool]:
    """Hold the lock while the block runs; False when another supervisor has it."""
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
    """End what runs of this local stack without a supervisor, PostgreSQL cleanly. The caller must hold the lock."""
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
        """Until SIGTERM. 0, or 1 when the local stack did not come up."""
        try:
            self._start()
            self.state = "running"
            while True:
                self._tick()
        except Stop:
            return 0
        except (StartError, config.ConfigError) as error:
            self.reason = str(error)
            print(f"did not come up: {error}", flush=True)
            return 1
        finally:
            self._stop()

    def request_stop(self, *_: object) -> None:
        self.stopping = True

    def _start(self) -> None:
        self._write()
        end_leftovers(self.stack)
        for name, port in (("AIRFLOW", self.stack.airflow), ("AWS", self.stack.aws)):
            if not config.free(port):
                raise StartError(f"port {port} is used by another program: set LOCAL_{name}_PORT in .env")
        (self.stack.state / "aws" / "ready").unlink(missing_ok=True)
        embedded = [AWS] if AWS in self.services else []
        for name in embedded:
            self.services[name].start()
        self.database.prepare()
        self.services["postgres"].start()
        self._until_running("postgres")
        self._migrate()
        self._until_running(*embedded)
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
            _kill_group(process)
        if process.returncode:
            raise StartError(f"`airflow db migrate` failed; the end of {log}:\n{last_lines(log)}")
        migration.done()

    def _until_running(self, *names: str) -> None:
        until = time.monotonic() + PATIENCE
        while late := [name for name in names if self.services[name].state != "running"]:
            for service in (self.services[name] for name in late):
                if service.deaths >= START_ATTEMPTS and not service.was_healthy:
                    raise StartError(f"{service.name} dies; the end of {service.log}:\n{last_lines(service.log)}")
            if time.monotonic() > until:
                log = self.services[late[0]].log
                raise StartError(
                    f"{', '.join(late)}: not healthy after {PATIENCE} s; the end of {log}:\n{last_lines(log)}"
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
        """The scheduler first, while the API still answers its tasks; AWS last, for those who stop jobs there."""
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
        mine = {
            "state": self.state,
            "pid": os.getpid(),
            "reason": self.reason,
            "log": str(self.log_dir / "supervisor.log"),
        }
        status = {"supervisor": mine} | {name: service.describe() for name, service in self.services.items()}
        if (text := json.dumps(status, indent=1)) != self.written:
            fresh = self.stack.state / "status.new"
            fresh.write_text(text)
            fresh.replace(self.stack.state / "status.json")
            self.written = text


def main() -> int:
    stack = config.load()
    os.environ |= environment.retail(stack)
    with locked(stack.state) as mine:
        if not mine:
            return 0
        supervisor = Supervisor(stack)
        for wanted in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(wanted, supervisor.request_stop)
        return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
