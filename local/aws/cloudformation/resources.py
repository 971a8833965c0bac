"""The resource types that ministack's CloudFormation lacks or does by half, made through the public API.

A handler calls back into this process, so its type is put on the list of those that run off the event loop. Stack
tags come to the handlers in the type's tag property, as ministack does for its own types.
"""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from ministack.services.cloudformation import drift, provisioners, stacks

from local.aws import compatibility as pins  # noqa: F401 - asserts the private names used below
from local.aws import root

Properties = dict[str, Any]
Made = tuple[str, dict[str, str]]
"""Physical id, and the attributes for Fn::GetAtt."""

_OFF_LOOP: set[str] = set()
_runs_on_worker_thread = stacks._runs_on_worker_thread
stacks._runs_on_worker_thread = lambda kind: kind in _OFF_LOOP or _runs_on_worker_thread(kind)


def handlers(kind: str) -> dict[str, Callable]:
    """The type's handlers, to be changed in place; they run off the event loop from now on."""
    _OFF_LOOP.add(kind)
    return provisioners._RESOURCE_HANDLERS.setdefault(kind, {})


def tags_of(properties: Properties) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in properties.get("Tags", [])}


def lower(value: Any) -> Any:
    """Template spelling (ClusterName) to that of the EKS API (clusterName), all the way down; tags are not for it."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: lower(inner) for name, inner in value.items()}
    return [lower(inner) for inner in value] if isinstance(value, list) else value


def _chosen(properties: Properties, *names: str) -> dict[str, Any]:
    return {name[:1].lower() + name[1:]: properties[name] for name in names if name in properties}


_GONE = ("ResourceNotFoundException", "ResourceNotFound", "NoSuchEntity", "NotFoundException", "TrailNotFoundException")


def unless_gone(call: Callable[..., Any], **arguments: Any) -> None:
    """Deletion of what somebody deleted already is done."""
    try:
        call(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _GONE:
            raise


class OidcProvider:
    """AWS::IAM::OIDCProvider. AWS finds the thumbprint itself when the template gives none."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Made:
        arn = root.client("iam").create_open_id_connect_provider(
            Url=properties["Url"],
            ClientIDList=properties.get("ClientIdList", []),
            ThumbprintList=properties.get("ThumbprintList", ["0" * 40]),
            Tags=properties.get("Tags", []),
        )["OpenIDConnectProviderArn"]
        return arn, {"Arn": arn}

    @staticmethod
    def update(arn: str, old: Properties, new: Properties, _stack: str) -> Made:
        iam, before, after = root.client("iam"), set(old.get("ClientIdList", [])), set(new.get("ClientIdList", []))
        for client_id in after - before:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=client_id)
        for client_id in before - after:
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=client_id)
        return arn, {"Arn": arn}

    @staticmethod
    def delete(arn: str, _properties: Properties) -> None:
        unless_gone(root.client("iam").delete_open_id_connect_provider, OpenIDConnectProviderArn=arn)


class Addon:
    """AWS::EKS::Addon; physical id cluster|addon."""

    OPTIONS = ("AddonVersion", "ServiceAccountRoleArn", "ResolveConflicts", "ConfigurationValues")

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Made:
        cluster, name = properties["ClusterName"], properties["AddonName"]
        options = _chosen(properties, *cls.OPTIONS)
        made = root.client("eks").create_addon(clusterName=cluster, addonName=name, tags=tags_of(properties), **options)
        return f"{cluster}|{name}", {"Arn": made["addon"]["addonArn"]}

    @classmethod
    def update(cls, physical_id: str, _old: Properties, new: Properties, _stack: str) -> Made:
        cluster, name = physical_id.split("|")
        eks = root.client("eks")
        eks.update_addon(clusterName=cluster, addonName=name, **_chosen(new, *cls.OPTIONS))
        return physical_id, {"Arn": eks.describe_addon(clusterName=cluster, addonName=name)["addon"]["addonArn"]}

    @staticmethod
    def delete(physical_id: str, _properties: Properties) -> None:
        cluster, name = physical_id.split("|")
        unless_gone(root.client("eks").delete_addon, clusterName=cluster, addonName=name)


class AccessEntry:
    """AWS::EKS::AccessEntry; physical id principal|cluster, as on AWS."""

    OPTIONS = ("Type", "KubernetesGroups", "Username")

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Made:
        who = {"clusterName": properties["ClusterName"], "principalArn": properties["PrincipalArn"]}
        options = _chosen(properties, *cls.OPTIONS)
        made = root.client("eks").create_access_entry(**who, tags=tags_of(properties), **options)
        cls._associate(who, properties)
        return "|".join(reversed(who.values())), {"AccessEntryArn": made["accessEntry"]["accessEntryArn"]}

    @staticmethod
    def _associate(who: dict[str, str], properties: Properties) -> None:
        for policy in properties.get("AccessPolicies", []):
            root.client("eks").associate_access_policy(
                **who, policyArn=policy["PolicyArn"], accessScope=lower(policy["AccessScope"])
            )

    @classmethod
    def update(cls, physical_id: str, old: Properties, new: Properties, _stack: str) -> Made:
        eks, who = root.client("eks"), {"clusterName": new["ClusterName"], "principalArn": new["PrincipalArn"]}
        entry = eks.update_access_entry(**who, **_chosen(new, "KubernetesGroups", "Username"))["accessEntry"]
        after = {policy["PolicyArn"] for policy in new.get("AccessPolicies", [])}
        for policy in old.get("AccessPolicies", []):
            if policy["PolicyArn"] not in after:
                eks.disassociate_access_policy(**who, policyArn=policy["PolicyArn"])
        cls._associate(who, new)
        return physical_id, {"AccessEntryArn": entry["accessEntryArn"]}

    @staticmethod
    def delete(physical_id: str, _properties: Properties) -> None:
        principal, cluster = physical_id.split("|")
        unless_gone(root.client("eks").delete_access_entry, principalArn=principal, clusterName=cluster)


class ModelPackageGroup:
    """AWS::SageMaker::ModelPackageGroup. Another description replaces it on AWS; with a fixed name that fails."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Made:
        arn = root.client("sagemaker").create_model_package_group(
            ModelPackageGroupName=properties["ModelPackageGroupName"],
            ModelPackageGroupDescription=properties.get("ModelPackageGroupDescription", ""),
            Tags=properties.get("Tags", []),
        )["ModelPackageGroupArn"]
        return arn, {"ModelPackageGroupArn": arn}

    @staticmethod
    def delete(arn: str, _properties: Properties) -> None:
        name = arn.rpartition("/")[2]
        try:
            root.client("sagemaker").delete_model_package_group(ModelPackageGroupName=name)
        except ClientError as error:
            if "does not exist" not in str(error):
                raise


def register(kind: str, maker: type, tags: str | None = "Tags") -> None:
    """Make resources of a type by maker's create, update and delete; tags: the property that the stack's tags go to."""
    handlers(kind).update(
        {name: getattr(maker, name) for name in ("create", "update", "delete") if hasattr(maker, name)}
    )
    if tags:
        provisioners._STACK_TAG_PROPERTY[kind] = (tags, "list")


register("AWS::IAM::OIDCProvider", OidcProvider)
register("AWS::EKS::Addon", Addon)
register("AWS::EKS::AccessEntry", AccessEntry)
register("AWS::SageMaker::ModelPackageGroup", ModelPackageGroup)


# --- AWS::S3::Bucket: ministack drops its tags and life-cycle rules ------------------------------------------------
def _rule(rule: Properties) -> Properties:
    """A life-cycle rule in the spelling of the S3 API."""
    made = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "Transitions" in rule:
        made["Transitions"] = [
            {"Days": int(step["TransitionInDays"]), "StorageClass": step["StorageClass"]}
            for step in rule["Transitions"]
        ]
    for name in ("AbortIncompleteMultipartUpload", "NoncurrentVersionExpiration"):
        if name in rule:
            made[name] = {inner: int(days) for inner, days in rule[name].items()}
    return made


def _finish_bucket(name: str, properties: Properties) -> None:
    s3 = root.client("s3")
    if tags := properties.get("Tags"):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
    if rules := properties.get("LifecycleConfiguration", {}).get("Rules"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [_rule(rule) for rule in rules]}
        )
    else:
        s3.delete_bucket_lifecycle(Bucket=name)


_bucket = handlers("AWS::S3::Bucket")
_bucket_create, _bucket_update = _bucket["create"], _bucket["update"]


def _create_bucket(logical_id: str, properties: Properties, stack: str) -> Made:
    made = _bucket_create(logical_id, properties, stack)
    _finish_bucket(made[0], properties)
    return made


def _update_bucket(physical_id: str, old: Properties, new: Properties, *rest: str) -> Made:
    made = _bucket_update(physical_id, old, new, *rest)
    _finish_bucket(made[0], new)
    return made


_bucket.update(create=_create_bucket, update=_update_bucket)
provisioners._STACK_TAG_PROPERTY["AWS::S3::Bucket"] = ("Tags", "list")


# --- AWS refuses to delete what is not empty; ministack drops it silently -------------------------------------------
def _keep_unless_empty(kind: str, holds: Callable[[str, Properties], bool]) -> None:
    deletes = handlers(kind)["delete"]

    def delete(physical_id: str, properties: Properties) -> None:
        if holds(physical_id, properties):
            raise ValueError(f"{physical_id} is not empty: empty it, then delete the stack again")
        deletes(physical_id, properties)

    handlers(kind)["delete"] = delete


def _bucket_holds(name: str, _properties: Properties) -> bool:
    try:
        page = root.client("s3").list_object_versions(Bucket=name, MaxKeys=1)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            return False
        raise
    return bool(page.get("Versions") or page.get("DeleteMarkers"))


def _repository_holds(name: str, properties: Properties) -> bool:
    try:
        images = root.client("ecr").list_images(repositoryName=name)["imageIds"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            return False
        raise
    return bool(images) and not properties.get("EmptyOnDelete")


_keep_unless_empty("AWS::S3::Bucket", _bucket_holds)
_keep_unless_empty("AWS::ECR::Repository", _repository_holds)


# --- drift: a policy that a template gives as text is the same policy as an object ----------------------------------
_expected_properties = drift._expected_properties


def _expected_as_objects(*arguments: Any) -> Properties:
    found = _expected_properties(*arguments)
    return {name: drift._json_or(value) if name.endswith("PolicyDocument") else value for name, value in found.items()}


drift._expected_properties = _expected_as_objects
