"""Buckets of the lake stack: their tags, their life-cycle rules, and that they are kept while they hold objects."""

from collections.abc import Callable
from typing import Final

from botocore.exceptions import ClientError

from local.aws import root
from local.aws.cloudformation.handlers import Created, Properties, stack_tags, wrap_handler

_KIND: Final = "AWS::S3::Bucket"


def _create(create: Callable[..., Created], logical_id: str, properties: Properties, stack: str) -> Created:
    name, attributes = create(logical_id, properties, stack)
    _put_tags_and_rules(name, properties)
    return name, attributes


def _update(update: Callable[..., Created], physical_id: str, old: Properties, new: Properties, *rest: str) -> Created:
    updated = update(physical_id, old, new, *rest)
    _put_tags_and_rules(updated[0], new)
    return updated


def _put_tags_and_rules(name: str, properties: Properties) -> None:
    s3 = root.client("s3")
    if tags := properties.get("Tags"):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    if rules := properties.get("LifecycleConfiguration", {}).get("Rules"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [_api_rule(rule) for rule in rules]}
        )
    else:
        s3.delete_bucket_lifecycle(Bucket=name)


def _api_rule(rule: Properties) -> Properties:
    """Spell a life-cycle rule as the S3 API does."""
    api_rule = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "ExpirationInDays" in rule:
        api_rule["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "Transitions" in rule:
        api_rule["Transitions"] = [
            {"Days": int(step["TransitionInDays"]), "StorageClass": step["StorageClass"]}
            for step in rule["Transitions"]
        ]
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            api_rule[name] = {member: int(days) for member, days in rule[name].items()}
    return api_rule


def _delete_empty(delete: Callable[[str, Properties], None], name: str, properties: Properties) -> None:
    if _has_objects(name):
        raise ValueError(f"{name} is not empty: empty it, then delete the stack again")
    delete(name, properties)


def _has_objects(bucket: str) -> bool:
    try:
        page = root.client("s3").list_object_versions(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return False
        raise
    return bool(page.get("Versions") or page.get("DeleteMarkers"))


PATCHES: Final = (
    wrap_handler(_KIND, "create", _create, "tags and life-cycle rules of a template are dropped"),
    wrap_handler(_KIND, "update", _update, "tags and life-cycle rules of a template are dropped"),
    wrap_handler(_KIND, "delete", _delete_empty, "objects are deleted with their bucket; AWS refuses"),
    stack_tags(_KIND, "Tags"),
)
