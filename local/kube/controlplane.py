"""One Kubernetes control plane on loopback: etcd, kube-apiserver, controller-manager, scheduler, metrics-server.

Everything is below the folder of the cluster's specification. A start on an existing folder continues with its data:

    server                 URL of the API
    kubeconfig             for the cluster's administrator
    pki/                   certificates and keys, see pki.py
    pid/<component>        JSON {"pid", "created"}: the time of creation tells a process from a later one with its pid
    log/<component>.log    since the last start
    etcd/                  the data; etcd runs without fsync: a power failure may lose the last seconds
"""

import base64
import contextlib
import http.client
import json
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import yaml

from local.kube import components, pki, processes
from local.kube.components import COMPONENTS
from local.kube.spec import ClusterSpec

START_SECONDS: Final = 90
STOP_SECONDS: Final = 8
POLL_SECONDS: Final = 0.1
LOG_TAIL_LINES: Final = 15
"""Lines of a component's log that an error quotes."""


class ControlPlaneError(Exception):
    """Why a control plane did not start, with the log tail of the component that failed; or why kubectl failed."""


class ControlPlane:
    """The control plane of a cluster, run by the programs of the folder `binaries`. Starts and stops are serialized."""

    def __init__(self, cluster: ClusterSpec, binaries: Path) -> None:
        self.cluster = cluster
        self.folder = cluster.folder
        self.url = cluster.url
        self.kubeconfig = cluster.kubeconfig
        self._binaries = binaries
        self._lock = threading.RLock()

    # --- life ---
    def start(self) -> None:
        """Start it, after stopping what may still run of it; return when API, controllers and metrics API answer.

        Raise ControlPlaneError, with nothing left running, when that fails.
        """
        with self._lock:
            self.stop()
            try:
                self._start()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Stop every process, also those that a killed caller left behind; keep the data."""
        with self._lock:
            for name in COMPONENTS:
                if process := self._process(name):
                    _end(process)
                self._pid_file(name).unlink(missing_ok=True)

    def is_alive(self) -> bool:
        """Return whether all components run."""
        return not self.dead_components()

    def dead_components(self) -> list[str]:
        """Return the components that do not run."""
        return [name for name in COMPONENTS if not self._process(name)]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Return the output of kubectl as the administrator; raise ControlPlaneError with its message."""
        command: list[str | Path] = [self._binaries / "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    # --- steps of a start ---
    def _start(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        self._write_configuration()
        self._run("etcd")
        self._run("kube-apiserver")
        self._wait_for("the API", deadline, lambda: self._get("/readyz") == (200, b"ok"))
        self._run("kube-controller-manager")
        self._run("kube-scheduler")
        self._run("metrics-server")
        self._register_metrics()
        # the controllers work once they have made the default ServiceAccount
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for("the controllers", deadline, lambda: self._get(account)[0] == 200)
        self._wait_for("the metrics API", deadline, lambda: self._get("/apis/metrics.k8s.io/v1beta1")[0] == 200)

    def _write_configuration(self) -> None:
        for name in ("pid", "log", "etcd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        pki.make(self.folder / "pki", f"10.{self.cluster.service_octet}.0.1")
        _write_private(self.kubeconfig, self._client_config("admin"))
        for name in ("controller-manager", "scheduler", "metrics-server"):
            _write_private(self.folder / f"{name}.kubeconfig", self._client_config(name))
        (self.folder / "server").write_text(self.url + "\n")

    def _client_config(self, name: str) -> str:
        """Return the kubeconfig of a certificate in pki/."""

        def content(file: str) -> str:
            return base64.b64encode((self.folder / "pki" / file).read_bytes()).decode()

        cluster = {"server": self.url, "certificate-authority-data": content("ca.crt")}
        user = {"client-certificate-data": content(f"{name}.crt"), "client-key-data": content(f"{name}.key")}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "embedded", "cluster": cluster}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": "embedded", "context": {"cluster": "embedded", "user": name}}],
                "current-context": "embedded",
            }
        )

    def _run(self, name: str) -> None:
        """Start a component."""
        with (self.folder / "log" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [self._binaries / name, *components.arguments(self.cluster, name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,
            )
        created = psutil.Process(process.pid).create_time()
        self._pid_file(name).write_text(json.dumps({"pid": process.pid, "created": created}))

    def _wait_for(self, what: str, deadline: float, is_ready: Callable[[], bool]) -> None:
        """Wait until a check passes; ControlPlaneError when a component ends, or at the deadline."""
        while not is_ready():
            for name in COMPONENTS:
                if self._pid_file(name).exists() and not self._process(name):
                    raise ControlPlaneError(f"{name} ended before {what} answered:\n{self._log_tail(name)}")
            if time.monotonic() > deadline:
                log_tail = self._log_tail("kube-apiserver")
                raise ControlPlaneError(f"{what} did not answer within {START_SECONDS} s:\n{log_tail}")
            time.sleep(POLL_SECONDS)

    def _log_tail(self, name: str) -> str:
        log = self.folder / "log" / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _register_metrics(self) -> None:
        """Register the metrics API: a Service that leads to metrics-server on this machine."""
        port = components.port(self.cluster, "metrics-server")
        authority = base64.b64encode((self.folder / "pki" / "ca.crt").read_bytes()).decode()
        documents = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "metrics-server", "namespace": "kube-system"},
                "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": "v1beta1.metrics.k8s.io"},
                "spec": {
                    "group": "metrics.k8s.io",
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "caBundle": authority,
                    "service": {"name": "metrics-server", "namespace": "kube-system", "port": port},
                },
            },
        ]
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager", "embedded", "-f", "-")
        self.kubectl(*apply, stdin=yaml.safe_dump_all(documents))

    # --- the API server and the processes ---
    def _get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET as the administrator; status 0 when nothing answers."""
        certificates = self.folder / "pki"
        tls = ssl.create_default_context(cafile=certificates / "ca.crt")
        tls.load_cert_chain(certificates / "admin.crt", certificates / "admin.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.cluster.first_port, timeout=5, context=tls)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def _pid_file(self, name: str) -> Path:
        return self.folder / "pid" / name

    def _process(self, name: str) -> psutil.Process | None:
        """Return the component's living process; None when its pid belongs to another process now."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            record = json.loads(self._pid_file(name).read_text())
            process = psutil.Process(record["pid"])
            if abs(process.create_time() - record["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def _end(process: psutil.Process) -> None:
    """Send SIGTERM, after STOP_SECONDS SIGKILL; return when the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
