"""The programs of a control plane and their command lines, as functions of a cluster's specification."""

from typing import Final

from local.kube.spec import ClusterSpec

COMPONENTS: Final = ("metrics-server", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""In the order of stopping."""
PORTS: Final = ("kube-apiserver", "etcd", "etcd-peers", "kube-controller-manager", "kube-scheduler", "metrics-server")
"""What listens at the cluster's first port and the ones after it."""


def port(cluster: ClusterSpec, name: str) -> int:
    """Return the port of one of PORTS."""
    return cluster.first_port + PORTS.index(name)


def arguments(cluster: ClusterSpec, component: str) -> list[str]:
    """Return the arguments of a component's program."""
    return {
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "metrics-server": _metrics_server,
    }[component](cluster)


def _etcd(cluster: ClusterSpec) -> list[str]:
    clients = f"http://127.0.0.1:{port(cluster, 'etcd')}"
    peers = f"http://127.0.0.1:{port(cluster, 'etcd-peers')}"
    return [
        "--name=embedded", f"--data-dir={cluster.folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error",
        f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=embedded={peers}",
    ]  # fmt: skip


def _apiserver(cluster: ClusterSpec) -> list[str]:
    webhook = [f"--authentication-token-webhook-config-file={cluster.webhook}"] if cluster.webhook else []
    pki = cluster.folder / "pki"
    return [
        f"--etcd-servers=http://127.0.0.1:{port(cluster, 'etcd')}",
        "--bind-address=127.0.0.1", f"--secure-port={port(cluster, 'kube-apiserver')}",
        "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={cluster.service_range}",
        "--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--allow-privileged=true",
        *webhook,
        "--authentication-token-webhook-version=v1",
        f"--authentication-token-webhook-cache-ttl={cluster.webhook_cache}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}", f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--service-account-issuer={cluster.issuer}",
        f"--service-account-key-file={pki / 'sa.pub'}", f"--service-account-signing-key-file={pki / 'sa.key'}",
        *_kubelet_client(cluster), "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki / 'front-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy.crt'}", f"--proxy-client-key-file={pki / 'front-proxy.key'}",
        "--profiling=false", "--event-ttl=1h",
    ]  # fmt: skip


def _controller_manager(cluster: ClusterSpec) -> list[str]:
    pki = cluster.folder / "pki"
    return [
        *_client(cluster, "controller-manager", "kube-controller-manager"),
        "--leader-elect=false", "--use-service-account-credentials=true", "--profiling=false",
        f"--service-account-private-key-file={pki / 'sa.key'}", f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}", f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--horizontal-pod-autoscaler-sync-period={cluster.hpa_sync}",
        "--horizontal-pod-autoscaler-initial-readiness-delay=5s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=20s",
        f"--horizontal-pod-autoscaler-downscale-stabilization={cluster.hpa_settle}",
    ]  # fmt: skip


def _scheduler(cluster: ClusterSpec) -> list[str]:
    return [*_client(cluster, "scheduler", "kube-scheduler"), "--leader-elect=false", "--profiling=false"]


def _metrics_server(cluster: ClusterSpec) -> list[str]:
    pki = cluster.folder / "pki"
    return [
        *_client(cluster, "metrics-server", "metrics-server"),
        "--metric-resolution=10s", "--kubelet-request-timeout=4s", "--kubelet-use-node-status-port",
        *_kubelet_client(cluster), "--kubelet-preferred-address-types=InternalIP",
        f"--tls-cert-file={pki / 'metrics-server.crt'}", f"--tls-private-key-file={pki / 'metrics-server.key'}",
    ]  # fmt: skip


def _client(cluster: ClusterSpec, user: str, component: str) -> list[str]:
    """Return how a component logs in to the API server, and where it listens itself."""
    path = cluster.folder / f"{user}.kubeconfig"
    return [
        f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}",
        "--bind-address=127.0.0.1", f"--secure-port={port(cluster, component)}",
    ]  # fmt: skip


def _kubelet_client(cluster: ClusterSpec) -> list[str]:
    """Return how a component logs in to the kubelet endpoints of nodes."""
    pki = cluster.folder / "pki"
    return [
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
    ]
