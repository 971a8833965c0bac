"""The nodes of one EKS cluster: `python -m local.aws.eks.node_agent CLUSTER_FOLDER [--endpoint-lag SECONDS]`.

CLUSTER_FOLDER is the control plane's folder: `server` (URL of the API), `pki/{ca.crt,node.crt,node.key}` (a
certificate of system:masters for clients and servers, for 127.0.0.1); pods have their folders in `pods/`.

Standard input says which nodes run here, as local.kube.agent describes it, each with the credentials of its node role:

    {"<node name>": {"slot": 0, "capacity": {...}, "credentials": "<secret>"}}

`GET $AWS_ENDPOINT_URL/_local/credentials` with the header `Authorization: <secret>` answers the credentials, and is
asked again before they expire.

Environment: LOCAL_STACK_DIR (the state folder, `config.MARK`), AWS_ENDPOINT_URL, AWS_REGION, CLUSTER_NAME, and what
`config.load` needs to find the same local stack (HOME or XDG_CACHE_HOME).
"""

import argparse
import os
from pathlib import Path

from local.aws.eks.node_runtime import EksRuntime, NodeSettings
from local.kube import agent
from local.kube.agent import Agent, NodeOptions
from local.kube.api import Api
from local.kube.proxy import ENDPOINT_LAG
from local.stack import config, kube_cluster


def make_agent(folder: Path, endpoint_lag: float) -> Agent:
    """Return the agent of the cluster of a folder, as the environment says."""
    stack = config.load(Path(os.environ[config.MARK]))
    settings = NodeSettings(
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        region=os.environ["AWS_REGION"],
        cluster=os.environ["CLUSTER_NAME"],
        images=stack.state / "aws" / "images",
    )

    def runtime_of(api: Api, name: str, options: NodeOptions) -> EksRuntime:
        return EksRuntime(api, name, settings, options["credentials"])

    marks = {config.MARK: str(stack.state)}
    return Agent(kube_cluster.spec(stack, folder), runtime_of, marks, endpoint_lag)


def main() -> None:
    """Run the agent as this process."""
    parser = argparse.ArgumentParser(description="The nodes of one EKS cluster; which ones, standard input says.")
    parser.add_argument("folder", type=Path, help="the control plane's folder")
    parser.add_argument(
        "--endpoint-lag", type=float, default=ENDPOINT_LAG, help="seconds until Services follow their endpoints"
    )
    options = parser.parse_args()
    agent.serve(lambda: make_agent(options.folder.resolve(), options.endpoint_lag))


if __name__ == "__main__":
    main()
