"""Give up what a kill interrupted, so that it does not wait for ever: stacks, clusters and node groups."""

import logging
from typing import Final

from ministack.core import responses
from ministack.services import cloudformation, eks

log = logging.getLogger(__name__)

REASON: Final = "The AWS emulation ended while the stack changed"
_FAILED_STATUS: Final = {
    "CREATE": "CREATE_FAILED",
    "ROLLBACK": "ROLLBACK_FAILED",
    "UPDATE": "UPDATE_FAILED",
    "DELETE": "DELETE_FAILED",
}


def fail_interrupted() -> None:
    """Mark interrupted stacks as failed, so that they can be deleted; drop node groups and clusters in creation.

    Call it before clusters are resumed.
    """
    for _key, stack in cloudformation._stacks.all_items():
        status = stack["StackStatus"]
        failed = _FAILED_STATUS.get(status.partition("_")[0])
        if status.endswith("_IN_PROGRESS") and failed:
            log.warning("stack %s was interrupted in %s: it is %s now", stack["StackName"], status, failed)
            stack["StackStatus"] = failed
            stack["StackStatusReason"] = REASON
    for _key, group in eks._nodegroups.all_items():
        if group["status"] == "CREATING":
            group["status"] = "DELETING"
    for (account, region, name), cluster in list(eks._clusters.all_items()):
        if cluster["status"] == "CREATING":
            log.warning("cluster %s was interrupted in its creation: it is deleted; create it again", name)
            responses.set_request_account_id(account)
            responses.set_request_region(region)
            cluster["status"] = "FAILED"
            eks._delete_cluster(name)
