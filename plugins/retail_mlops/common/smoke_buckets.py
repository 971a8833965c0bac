"""The bucket that the API's role must not read: made for a smoke test, removed after it.

It belongs to this account: no other account's bucket would prove the limits of the role.
"""

import logging
from typing import Final

from botocore.exceptions import ClientError

from include import lake
from include.settings import settings
from retail_mlops.common import job_requests
from retail_mlops.hooks.s3_lake import LakeHook

CONTENT: Final = b"not the API's"

log = logging.getLogger(__name__)


def prefix() -> str:
    return f"mlops-retail-smoke-{settings().environment}-{settings().account_id}-"


def make(hook: LakeHook, name: str) -> None:
    """Make a bucket with one object; an earlier try may have made it already."""
    try:
        hook.conn.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": settings().region})
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    hook.conn.put_bucket_tagging(Bucket=name, Tagging={"TagSet": job_requests.tags("smoke")})
    hook.conn.put_object(Bucket=name, Key=lake.SMOKE, Body=CONTENT)


def remove_all(aws_conn_id: str) -> None:
    """Remove the bucket of this run, and those of runs that were killed before they could."""
    hook = LakeHook(aws_conn_id)
    for bucket in hook.conn.list_buckets(Prefix=prefix()).get("Buckets", []):
        name = bucket["Name"]
        if not name.startswith(prefix()):
            continue
        hook.conn.delete_object(Bucket=name, Key=lake.SMOKE)
        hook.conn.delete_bucket(Bucket=name)
        log.info("Removed bucket %s", name)
