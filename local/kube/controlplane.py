"""One Kubernetes control plane on loopback: etcd, kube-apiserver, controller-manager, scheduler, metrics-server.

All of it lives below one folder, and a start on an old folder goes on with its contents:

    server                 URL of the API
    kubeconfig             for the cluster's administrator
    pki/                   certificates and keys, see pki.py
    pid/<component>        JSON {"pid", "created"}: the time of creation tells a process from a later one of that number
    log/<component>.log    since the last start
    etcd/                  the data; etcd runs without fsync: a machine that loses its power may lose the last seconds
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
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from local.kube import assets, pki
from local.stack import config, processes

START_SECONDS: Final = 90
STOP_SECONDS: Final = 8
TAIL: Final = 15
"""Lines of a component's log that an error quotes."""
COMPONENTS: Final = ("metrics-server", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""In the order of stopping."""


class ControlPlaneError(Exception):
    """Why a control plane did not start, with the last words of the component that failed."""


class ControlPlane:
    """The control plane of a folder. Starts and stops wait for each other.

    issuer: of service account tokens; webhook: kubeconfig of a token webhook, or None.
    webhook_cache: how long the API server trusts the webhook's answer; hpa_sync, hpa_settle: how often autoscalers
    look, and how long they wait before they scale down.
    """

    def __init__(
        self,
        folder: Path,
        stack: config.LocalStack,
        issuer: str = "https://kubernetes.default.svc.cluster.local",
        webhook: Path | None = None,
        *,
        webhook_cache: str = "10s",
        hpa_sync: str = "5s",
        hpa_settle: str = "60s",
    ) -> None:
        self.folder, self.stack, self.issuer, self.webhook = folder, stack, issuer, webhook
        self.webhook_cache, self.hpa_sync, self.hpa_settle = webhook_cache, hpa_sync, hpa_settle
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.stack.kube}"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    # --- life ---
    def start(self) -> None:
        """Start it, after what may still run of it was ended; returns when API, controllers and metrics are there.

        ControlPlaneError, with nothing left running, when that fails.
        """
        with self._lock:
            self.stop()
            try:
                self._start()
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End every process, also those that a killed caller left; the data stay."""
        with self._lock:
            for name in COMPONENTS:
                if process := self._process(name):
                    _end(process)
                self._pid_file(name).unlink(missing_ok=True)

    def is_alive(self) -> bool:
        return not self.dead_components()

    def dead_components(self) -> list[str]:
        """Components that do not run."""
        return [name for name in COMPONENTS if not self._process(name)]

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl as the administrator; ControlPlaneError with its message."""
        command: list[str | Path] = [assets.ensure() / "kubectl", "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ControlPlaneError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    # --- steps of a start ---
    def _start(self) -> None:
        until = time.monotonic() + START_SECONDS
        self._write_configuration()
        self._run("etcd", self._etcd())
        self._run("kube-apiserver", self._apiserver())
        self._await("the API", until, lambda: self._get("/readyz") == (200, b"ok"))
        self._run("kube-controller-manager", self._controller_manager())
        self._run("kube-scheduler", self._scheduler())
        self._run("metrics-server", self._metrics_server())
        self._register_metrics()
        # the default ServiceAccount is the sign that the controllers work
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._await("the controllers", until, lambda: self._get(account)[0] == 200)
        self._await("the metrics API", until, lambda: self._get("/apis/metrics.k8s.io/v1beta1")[0] == 200)

    def _write_configuration(self) -> None:
        for name in ("pid", "log", "etcd"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        pki.make(self.folder / "pki", f"10.{self.stack.service_octet}.0.1")
        _write_private(self.kubeconfig, self._client_config("admin"))
        for name in ("controller-manager", "scheduler", "metrics-server"):
            _write_private(self.folder / f"{name}.kubeconfig", self._client_config(name))
        (self.folder / "server").write_text(self.url + "\n")

    def _client_config(self, name: str) -> str:
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

    def _run(self, name: str, arguments: list[str]) -> None:
        with (self.folder / "log" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [assets.ensure() / name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=processes.die_with_parent,
            )
        created = psutil.Process(process.pid).create_time()
        self._pid_file(name).write_text(json.dumps({"pid": process.pid, "created": created}))

    def _await(self, what: str, until: float, there: Any) -> None:
        while not there():
            for name in COMPONENTS:
                if self._pid_file(name).exists() and not self._process(name):
                    raise ControlPlaneError(f"{name} ended while {what} was waited for:\n{self._last_words(name)}")
            if time.monotonic() > until:
                raise ControlPlaneError(
                    f"{what} was not there after {START_SECONDS} s:\n{self._last_words('kube-apiserver')}"
                )
            time.sleep(0.1)

    def _last_words(self, name: str) -> str:
        log = self.folder / "log" / f"{name}.log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])

    def _register_metrics(self) -> None:
        """The API server finds metrics-server behind a Service that names this machine."""
        port = self._port(5)
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

    # --- arguments ---
    def _port(self, offset: int) -> int:
        """0 API, 1 etcd, 2 etcd's peers, 3 controller-manager, 4 scheduler, 5 metrics-server."""
        return self.stack.kube + offset

    def _file(self, name: str) -> str:
        return str(self.folder / "pki" / name)

    def _etcd(self) -> list[str]:
        clients, peers = f"http://127.0.0.1:{self._port(1)}", f"http://127.0.0.1:{self._port(2)}"
        return [
            "--name=embedded", f"--data-dir={self.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error",
            f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=embedded={peers}",
        ]  # fmt: skip

    def _apiserver(self) -> list[str]:
        webhook = [f"--authentication-token-webhook-config-file={self.webhook}"] if self.webhook else []
        return [
            f"--etcd-servers=http://127.0.0.1:{self._port(1)}",
            "--bind-address=127.0.0.1", f"--secure-port={self._port(0)}",
            "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
            f"--service-cluster-ip-range=10.{self.stack.service_octet}.0.0/16",
            "--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--allow-privileged=true",
            *webhook,
            "--authentication-token-webhook-version=v1",
            f"--authentication-token-webhook-cache-ttl={self.webhook_cache}",
            f"--client-ca-file={self._file('ca.crt')}",
            f"--tls-cert-file={self._file('apiserver.crt')}", f"--tls-private-key-file={self._file('apiserver.key')}",
            f"--service-account-issuer={self.issuer}",
            f"--service-account-key-file={self._file('sa.pub')}",
            f"--service-account-signing-key-file={self._file('sa.key')}",
            f"--kubelet-certificate-authority={self._file('ca.crt')}",
            f"--kubelet-client-certificate={self._file('kubelet-client.crt')}",
            f"--kubelet-client-key={self._file('kubelet-client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={self._file('front-ca.crt')}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={self._file('front-proxy.crt')}",
            f"--proxy-client-key-file={self._file('front-proxy.key')}",
            "--profiling=false", "--event-ttl=1h",
        ]  # fmt: skip

    def _component(self, name: str, port: int) -> list[str]:
        path = self.folder / f"{name}.kubeconfig"
        return [
            f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}",
            "--bind-address=127.0.0.1", f"--secure-port={port}",
        ]  # fmt: skip

    def _controller_manager(self) -> list[str]:
        return [
            *self._component("controller-manager", self._port(3)),
            "--leader-elect=false", "--use-service-account-credentials=true", "--profiling=false",
            f"--service-account-private-key-file={self._file('sa.key')}", f"--root-ca-file={self._file('ca.crt')}",
            f"--cluster-signing-cert-file={self._file('ca.crt')}", f"--cluster-signing-key-file={self._file('ca.key')}",
            f"--horizontal-pod-autoscaler-sync-period={self.hpa_sync}",
            "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=20s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={self.hpa_settle}",
        ]  # fmt: skip

    def _scheduler(self) -> list[str]:
        return [*self._component("scheduler", self._port(4)), "--leader-elect=false", "--profiling=false"]

    def _metrics_server(self) -> list[str]:
        return [
            *self._component("metrics-server", self._port(5)),
            "--metric-resolution=10s", "--kubelet-request-timeout=4s", "--kubelet-use-node-status-port",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={self._file('ca.crt')}",
            f"--kubelet-client-certificate={self._file('kubelet-client.crt')}",
            f"--kubelet-client-key={self._file('kubelet-client.key')}",
            f"--tls-cert-file={self._file('metrics-server.crt')}",
            f"--tls-private-key-file={self._file('metrics-server.key')}",
        ]  # fmt: skip

    # --- the API and the processes ---
    def _get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET as the administrator; status 0 when nothing answers."""
        tls = ssl.create_default_context(cafile=self._file("ca.crt"))
        tls.load_cert_chain(self._file("admin.crt"), self._file("admin.key"))
        connection = http.client.HTTPSConnection("127.0.0.1", self._port(0), timeout=5, context=tls)
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
        """The component's living process; None for another process that has its number now."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            noted = json.loads(self._pid_file(name).read_text())
            process = psutil.Process(noted["pid"])
            if abs(process.create_time() - noted["created"]) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def _end(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)
