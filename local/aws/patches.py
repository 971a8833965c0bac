"""Install everything that local.aws changes in ministack: the one place where that happens."""

import logging
from typing import Final

from local.aws import compatibility, service_models, tagging
from local.aws.cloudformation import (
    cluster_resources,
    drift,
    handlers,
    lake_resources,
    operations_resources,
    registry_resources,
)
from local.aws.cloudwatch import embedded_metrics, log_filter, saved_queries
from local.aws.ec2 import network_interfaces
from local.aws.ecr import registry
from local.aws.eks import (
    access_policies,
    clusters,
    login_tokens,
    node_instances,
    nodegroups,
    reconciler,
    routes,
    running_planes,
    service_account_roles,
    stack_handlers,
)
from local.aws.iam import enforcement, saved_sessions
from local.aws.patch import Patch
from local.aws.sagemaker import service as sagemaker
from local.stack import config

log = logging.getLogger(__name__)

PATCHES: Final[tuple[Patch, ...]] = (
    *service_models.PATCHES,
    *enforcement.PATCHES,
    *saved_sessions.PATCHES,
    *registry.PATCHES,
    *network_interfaces.PATCHES,
    *embedded_metrics.PATCHES,
    *log_filter.PATCHES,
    *saved_queries.PATCHES,
    *tagging.PATCHES,
    *cluster_resources.PATCHES,
    *lake_resources.PATCHES,
    *registry_resources.PATCHES,
    *operations_resources.PATCHES,
    *drift.PATCHES,
    *clusters.PATCHES,
    *access_policies.PATCHES,
    *login_tokens.PATCHES,
    *service_account_roles.PATCHES,
    *nodegroups.PATCHES,
    *node_instances.PATCHES,
    *routes.PATCHES,
    *stack_handlers.PATCHES,
)
"""What is changed whatever serves SageMaker. A later patch of the same name wraps an earlier one."""

_installed: list[str] = []
"""The names that this process has replaced."""


def patches(service: sagemaker.SageMaker) -> tuple[Patch, ...]:
    """Return all patches, with the reason of each, in the order in which they are applied."""
    return (*PATCHES, handlers.run_off_event_loop(PATCHES), *sagemaker.patches(service))


def install(stack: config.LocalStack, service: sagemaker.SageMaker) -> None:
    """Apply all patches to ministack, and create the owner of the control planes.

    Call it once per process, after `compatibility.check`. Raise RuntimeError at the second call, which would wrap
    everything again.
    """
    if _installed:
        raise RuntimeError(f"ministack is patched already ({len(_installed)} names): call install() once per process")
    running_planes.start(stack, before_stop=reconciler.stop_agent)
    for patch in patches(service):
        patch.apply()
        _installed.append(patch.target)
    log.info("ministack %s: %d names replaced", compatibility.VERSION, len(_installed))
