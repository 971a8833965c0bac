"""Resource types of the cluster stack that ministack lacks: OIDC provider, add-on, access entry."""

from typing import Final

from local.aws import root
from local.aws.cloudformation.handlers import (
    Created,
    Properties,
    lower_first,
    new_type,
    pick,
    tags_of,
    unless_gone,
)


class OidcProvider:
    """AWS::IAM::OIDCProvider. AWS finds the thumbprint itself when the template gives none."""

    @staticmethod
    def create(_logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the provider."""
        arn = root.client("iam").create_open_id_connect_provider(
            Url=properties["Url"],
            ClientIDList=properties.get("ClientIdList", []),
            ThumbprintList=properties.get("ThumbprintList", ["0" * 40]),
            Tags=properties.get("Tags", []),
        )["OpenIDConnectProviderArn"]
        return arn, {"Arn": arn}

    @staticmethod
    def update(arn: str, old: Properties, new: Properties, _stack: str) -> Created:
        """Add and remove client ids."""
        iam = root.client("iam")
        before = set(old.get("ClientIdList", []))
        after = set(new.get("ClientIdList", []))
        for client_id in after - before:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=client_id)
        for client_id in before - after:
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=client_id)
        return arn, {"Arn": arn}

    @staticmethod
    def delete(arn: str, _properties: Properties) -> None:
        """Delete the provider."""
        unless_gone(root.client("iam").delete_open_id_connect_provider, OpenIDConnectProviderArn=arn)


class Addon:
    """AWS::EKS::Addon; physical id cluster|addon."""

    OPTIONS: Final = ("AddonVersion", "ServiceAccountRoleArn", "ResolveConflicts", "ConfigurationValues")

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the add-on."""
        cluster, name = properties["ClusterName"], properties["AddonName"]
        options = lower_first(pick(properties, *cls.OPTIONS))
        addon = root.client("eks").create_addon(
            clusterName=cluster, addonName=name, tags=tags_of(properties), **options
        )["addon"]
        return f"{cluster}|{name}", {"Arn": addon["addonArn"]}

    @classmethod
    def update(cls, physical_id: str, _old: Properties, new: Properties, _stack: str) -> Created:
        """Change version, role and configuration."""
        cluster, name = physical_id.split("|")
        eks = root.client("eks")
        eks.update_addon(clusterName=cluster, addonName=name, **lower_first(pick(new, *cls.OPTIONS)))
        return physical_id, {"Arn": eks.describe_addon(clusterName=cluster, addonName=name)["addon"]["addonArn"]}

    @staticmethod
    def delete(physical_id: str, _properties: Properties) -> None:
        """Delete the add-on."""
        cluster, name = physical_id.split("|")
        unless_gone(root.client("eks").delete_addon, clusterName=cluster, addonName=name)


class AccessEntry:
    """AWS::EKS::AccessEntry; physical id principal|cluster, as on AWS."""

    OPTIONS: Final = ("Type", "KubernetesGroups", "Username")

    @classmethod
    def create(cls, _logical_id: str, properties: Properties, _stack: str) -> Created:
        """Create the entry, then associate its policies."""
        key = cls._key(properties)
        options = lower_first(pick(properties, *cls.OPTIONS))
        entry = root.client("eks").create_access_entry(**key, tags=tags_of(properties), **options)["accessEntry"]
        cls._associate(key, properties)
        return f"{key['principalArn']}|{key['clusterName']}", {"AccessEntryArn": entry["accessEntryArn"]}

    @staticmethod
    def _key(properties: Properties) -> dict[str, str]:
        return {"clusterName": properties["ClusterName"], "principalArn": properties["PrincipalArn"]}

    @staticmethod
    def _associate(key: dict[str, str], properties: Properties) -> None:
        for policy in properties.get("AccessPolicies", []):
            root.client("eks").associate_access_policy(
                **key, policyArn=policy["PolicyArn"], accessScope=lower_first(policy["AccessScope"])
            )

    @classmethod
    def update(cls, physical_id: str, old: Properties, new: Properties, _stack: str) -> Created:
        """Change groups, user name and policies."""
        eks, key = root.client("eks"), cls._key(new)
        options = lower_first(pick(new, "KubernetesGroups", "Username"))
        entry = eks.update_access_entry(**key, **options)["accessEntry"]
        after = {policy["PolicyArn"] for policy in new.get("AccessPolicies", [])}
        for policy in old.get("AccessPolicies", []):
            if policy["PolicyArn"] not in after:
                eks.disassociate_access_policy(**key, policyArn=policy["PolicyArn"])
        cls._associate(key, new)
        return physical_id, {"AccessEntryArn": entry["accessEntryArn"]}

    @staticmethod
    def delete(physical_id: str, _properties: Properties) -> None:
        """Delete the entry and its associations."""
        principal, cluster = physical_id.split("|")
        unless_gone(root.client("eks").delete_access_entry, principalArn=principal, clusterName=cluster)


_NO_HANDLER: Final = "ministack has no handler"

PATCHES: Final = (
    *new_type("AWS::IAM::OIDCProvider", OidcProvider, _NO_HANDLER),
    *new_type("AWS::EKS::Addon", Addon, _NO_HANDLER),
    *new_type("AWS::EKS::AccessEntry", AccessEntry, _NO_HANDLER),
)
