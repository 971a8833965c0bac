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

What a node does not enforce or have: docs/local-stack.md.
Where only root may listen at ports below 1024, a cluster address has them 10000 above, as *_SERVICE_PORT says, and a
load balancer has none: an Event on the Service tells.
"""
