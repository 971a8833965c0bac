"""A real Kubernetes control plane on loopback whose nodes run pods as local processes.

This package imports nothing else of the project. Its callers pass specifications (`spec`); import-linter checks both
that and the order of its modules, from what is started down to plain data:

    agent         the nodes of a cluster in one process, started and stopped as asked
    node          a node: its status, its lease, its pods
    kubelet_api   the node's own endpoint: logs and resource metrics
    pod           a pod: init containers, containers, status, the end
    container     a container: a process in a session of its own, restarts, probes, hooks
    launch        command line, variables and working directory of a container
    context       what a node passes to its pods, and a pod to its containers
    runtime       what a node asks of its environment: images, admission, logs (NodeRuntime)
    proxy         Services: TCP to ready endpoints
    controlplane  etcd, kube-apiserver, kube-controller-manager, kube-scheduler, metrics-server; components, pki, assets
    probes, volumes, environment, sessions, api, ...   the helpers of the above
    spec          ClusterSpec, NodeSpec, RunSpec: plain data

The API refuses loopback addresses in EndpointSlices. So it shows Services and pods at 10.x.y.z, and the processes
listen at 127.x.y.z (`api.loopback`); `fieldRef: status.podIP` gives the address to listen at. Where only root may
listen at ports below 1024, a cluster address has them 10000 above, as *_SERVICE_PORT says, and a load balancer has
none: an Event on the Service reports that. docs/local-stack.md lists what a node does not enforce.

How to run a cluster with one node and one pod:

    cluster = ClusterSpec(folder=Path("/tmp/cluster"), first_port=21443, service_octet=16)
    plane = ControlPlane(cluster, Assets(cache=Path.home() / ".cache" / "kube").ensure())
    web = RunSpec(command=[sys.executable, "-m", "http.server", "--bind", "0.0.0.0"])
    runtime = StaticRuntime(images={"web": web})
    capacity = {"cpu": "2", "memory": "4Gi", "pods": "20"}

    async def run_a_pod() -> None:
        async with Agent(cluster, lambda api, name, options: runtime) as agent:
            await register(agent.api, "node-1", capacity)
            await agent.apply({"node-1": {"slot": 0, "capacity": capacity}})
            await asyncio.to_thread(plane.kubectl, "run", "web", "--image=web")
            print(await asyncio.to_thread(plane.kubectl, "wait", "--for=condition=Ready", "pod/web"))

    plane.start()
    try:
        asyncio.run(run_a_pod())
    finally:
        plane.stop()

The names come from the modules spec, controlplane, assets, runtime, agent and node. tests/local/kube/test_alone.py
runs it in a process that imports no other module of the project.
"""
