"""A real Kubernetes control plane on loopback whose nodes run pods as local processes.

`assets` and `controlplane` give etcd, kube-apiserver, kube-controller-manager, kube-scheduler and metrics-server.
The rest is the *process node*, our part of what kubelet, containerd and kube-proxy do elsewhere:

    agent        the process that runs the nodes of one cluster          python -m local.kube.agent PLANE_DIR
    node         a node: its registration, its heartbeat, its pods
    pod          a pod: init containers, containers, status, the end
    container    a container: a process in a session of its own, restarts, probes, hooks
    environment  environment, command line and paths that a container gets
    volumes      configMaps, secrets, projected tokens, downward API as directories
    checks       what probes and hooks do, and when a probe has passed or failed
    kubelet      the node's own endpoint: logs and resource metrics
    proxy        Services: TCP to ready endpoints
    eks          what EKS adds: pull from ECR, roles for service accounts, logs to CloudWatch
    api          the API server's client: calls and watches

The API refuses loopback addresses in EndpointSlices. So it shows Services and pods at 10.x.y.z, and the processes
listen at 127.x.y.z (`api.loopback`); `fieldRef: status.podIP` gives the address to listen at.

What a local process cannot enforce. The API stores and validates all of it, admission (Pod Security, quotas) checks
it, but the node does not act on it:

- NetworkPolicy: any process may connect to any other, and to the internet.
- runAsUser, runAsGroup, fsGroup, capabilities, seccomp, privilege: each pod is the user who started the world.
- readOnlyRootFilesystem, and mounts at all: a container sees the machine's files. A volume is a directory of the
  node, and its mountPath is replaced by that directory in the container's command, args and environment values; a
  path that is compiled into the code (the default service account token, /dev/termination-log) is not.
- Limits of CPU, memory and ephemeral storage: requests are scheduled, nothing is throttled or killed. Usage is real.
- Isolation of processes: pods share one network, one process table and one user.

Not there: exec, attach, port-forward and cp; `--since` and `--timestamps` of logs, log rotation; persistent volumes;
gRPC probes (done as TCP); ephemeral containers; activeDeadlineSeconds of a pod (a Job's works); in-place resize;
session affinity; UDP; cluster DNS (use the *_SERVICE_HOST and *_SERVICE_PORT variables); registries other than the
cluster's own ECR.
Where only root may listen at ports below 1024, a cluster address has them 10000 above, as *_SERVICE_PORT says, and a
load balancer has none: an Event on the Service tells.
"""
