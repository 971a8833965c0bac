"""Logs in to the cluster, with bearer tokens made in this process and renewed before they expire.

The provider's kubeconfig starts a second Python with Airflow for each token (two seconds of CPU), and its credentials
end after an hour (amazon 9.39). The token itself is made by the provider's function.

The Kubernetes client is imported at login: that takes half a second of CPU, which DAG files and other tasks save.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.amazon.aws.hooks.eks import EksHook
from airflow.providers.amazon.aws.utils.eks_get_token import fetch_access_token_for_cluster
from botocore.exceptions import ClientError

from include.settings import CLUSTER_NAME, settings
from retail_mlops.common.errors import RetailError

if TYPE_CHECKING:
    from boto3 import Session

    from retail_mlops.hooks.eks_cluster import Cluster

STS_REQUEST: Final = "/?Action=GetCallerIdentity&Version=2011-06-15"


def sign_token(session: Session, cluster: str) -> str:
    """Return a token of the session's identity for an EKS cluster: a signed URL of the STS of its region."""
    sts_url = session.client("sts").meta.endpoint_url + STS_REQUEST
    return fetch_access_token_for_cluster(cluster, sts_url, region_name=session.region_name, session=session)


class ClusterHook(EksHook):
    """Logs in to the project's cluster as the identity of a connection (an access entry decides what it may do)."""

    def __init__(self, aws_conn_id: str = "aws_default") -> None:
        super().__init__(aws_conn_id=aws_conn_id, region_name=settings().region)

    @cached_property
    def session(self) -> Session:
        """One session for all clients, so that a role is assumed once; its credentials renew themselves."""
        return super().get_session(self.region_name)

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Session:
        return self.session

    @contextmanager
    def login(self) -> Iterator[Cluster]:
        """Yield one client for everything that the task does, however long that takes."""
        from kubernetes.client.exceptions import ApiException

        from retail_mlops.hooks.eks_client import Tokens, connect
        from retail_mlops.hooks.eks_cluster import Cluster

        described = self._describe()
        tokens = Tokens(lambda: sign_token(self.session, CLUSTER_NAME))
        with connect(described["endpoint"], described["certificateAuthority"]["data"], tokens) as api:
            try:
                yield Cluster(api)
            except ApiException as error:
                if error.status != 403:
                    raise
                raise RetailError(
                    f"the cluster refuses Airflow: run provision, which grants its permissions. {error.body}"
                ) from error

    def _describe(self) -> dict[str, Any]:
        """Return the cluster as EKS describes it; RetailError when there is none."""
        try:
            cluster: dict[str, Any] = self.conn.describe_cluster(name=CLUSTER_NAME)["cluster"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise RetailError(f"there is no cluster {CLUSTER_NAME}: run provision first") from error
        return cluster
