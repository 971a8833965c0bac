"""The process nodes of one cluster: `python -m local.kube.agent PLANE_DIR [--endpoint-lag SECONDS]`.

PLANE_DIR is the control plane's folder: `server` (URL of the API), `pki/{ca.crt,node.crt,node.key}` (a certificate of
system:masters for clients and servers, for 127.0.0.1); pods live in `pods/`.

Standard input: each line is the JSON of *all* nodes that shall run here; others are stopped, so that any repetition
is harmless. The Node objects exist already (the node group makes them, with labels and capacity); the agent makes them Ready:

    {"<node name>": {"slot": 0,                     # 0 to 14, unique: kubelet port world.kube + 6 + slot,
                                                    # pods at 10.<world.pod_octet(slot)>.x.y
                     "zone": "ap-southeast-1a",
                     "capacity": {"cpu": "2", "memory": "8Gi", "pods": "17", "ephemeral-storage": "20Gi"},
                     "credentials": "<secret>"}}    # of the node role, see below

The end of standard input (also the death of the parent) or SIGTERM ends the agent and all processes of its pods.

Credentials of the node role: GET $AWS_ENDPOINT_URL/_world/credentials with the header `Authorization: <secret>` answers
{"AccessKeyId", "SecretAccessKey", "Token", "Expiration"} (RFC 3339) and is asked again before they expire.

Environment: LOCAL_WORLD_DIR (the state folder, `config.MARK`), AWS_ENDPOINT_URL, AWS_REGION, CLUSTER_NAME, and what
`config.load` needs to find the same world (HOME or XDG_CACHE_HOME). Logs go to standard error.
"""
