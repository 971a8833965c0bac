"""What a kill cut off does not hang for ever: stacks, clusters and node groups that were in the middle of something."""

import logging

from ministack.core import responses
from ministack.services import cloudformation, eks

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below

log = logging.getLogger(__name__)

REASON = "The embedded AWS ended in the middle of it"
_ENDS = {"CREATE": "CREATE_FAILED", "ROLLBACK": "ROLLBACK_FAILED", "UPDATE": "UPDATE_FAILED", "DELETE": "DELETE_FAILED"}


def settle() -> None:
    """Before clusters are resumed: stacks fail, so that they can be deleted; half-made clusters and groups go."""
    for _key, stack in cloudformation._stacks.all_items():
        status = stack["StackStatus"]
        if status.endswith("_IN_PROGRESS") and (verb := status.partition("_")[0]) in _ENDS:
            log.warning("stack %s was %s: it is %s now", stack["StackName"], status, _ENDS[verb])
            stack["StackStatus"], stack["StackStatusReason"] = _ENDS[verb], REASON
    for _key, group in eks._nodegroups.all_items():
        if group["status"] == "CREATING":
            group["status"] = "DELETING"
    for (account, region, name), cluster in list(eks._clusters.all_items()):
        if cluster["status"] == "CREATING":
            log.warning("cluster %s was being created: create it again", name)
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            cluster["status"] = "FAILED"
            eks._delete_cluster(name)
