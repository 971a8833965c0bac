"""Makes AWS sessions once a process, for every hook, operator and sensor of the Amazon provider.

A task has up to four hooks. Without this each of them assumes the connection's role and reads botocore's data files
again: 0.2 s of CPU each. Airflow finds this class by its setting [aws] session_factory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.loaders
import botocore.session
from airflow.providers.amazon.aws.hooks.base_aws import BaseSessionFactory

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

LOADER: Final = botocore.loaders.Loader(
    extra_search_paths=[str(Path(boto3.__file__).parent / "data")], include_default_search_paths=True
)
"""botocore's data files, each read once."""


def preload(services: Iterable[str]) -> None:
    """Read the data files of these services, in a process that forks those which need them."""
    core = botocore.session.get_session()
    core.register_component("data_loader", LOADER)
    session = boto3.session.Session("none", "none", region_name="us-east-1", botocore_session=core)
    for service in services:
        session.client(service)


class SharedSessionFactory(BaseSessionFactory):
    """One session for equal connections of a thread; its credentials renew themselves."""

    _made: Final = threading.local()
    """Sessions of this thread: botocore makes clients of one session in one thread only."""

    def create_session(self, deferrable: bool = False) -> boto3.session.Session | AioSession:
        if deferrable or not self.conn:
            return super().create_session(deferrable=deferrable)
        made: dict[str, boto3.session.Session] = self._made.__dict__.setdefault("sessions", {})
        key = repr((self.region_name, self.role_arn, self.conn.session_kwargs, self.extra_config))
        if key not in made:
            made[key] = super().create_session()
        return made[key]

    def _create_basic_session(self, session_kwargs: dict[str, Any]) -> boto3.session.Session:
        core = botocore.session.get_session()
        core.register_component("data_loader", LOADER)
        return boto3.session.Session(botocore_session=core, **session_kwargs)

    def _create_session_with_assume_role(
        self, session_kwargs: dict[str, Any], deferrable: bool = False
    ) -> boto3.session.Session | AioSession:
        session = super()._create_session_with_assume_role(session_kwargs, deferrable=deferrable)
        if not deferrable:
            session._session.register_component("data_loader", LOADER)
        return session
