"""Model package groups and their versioned packages: create, describe, list, approve, delete."""

import json

from local.aws.sagemaker.protocol import AwsError, Call, Operation, invalid, now, page
from local.aws.sagemaker.resource_tags import as_dict
from local.aws.sagemaker.store import Document, Store

GROUP, PACKAGE = "model-package-group", "model-package"
GROUP_SUMMARY = (
    "ModelPackageGroupName",
    "ModelPackageGroupArn",
    "ModelPackageGroupDescription",
    "CreationTime",
    "ModelPackageGroupStatus",
)
PACKAGE_SUMMARY = (
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)
UPDATED = (
    "ModelApprovalStatus",
    "ApprovalDescription",
    "InferenceSpecification",
    "SourceUri",
    "ModelCard",
    "ModelLifeCycle",
    "ModelPackageRegistrationType",
)


def _pick(document: Document, names: tuple[str, ...]) -> Document:
    return {name: document[name] for name in names if name in document}


class Registry:
    """The operations on groups and packages."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.operations: dict[str, Operation] = {
            "CreateModelPackageGroup": self.create_group,
            "DescribeModelPackageGroup": self.describe_group,
            "ListModelPackageGroups": self.list_groups,
            "DeleteModelPackageGroup": self.delete_group,
            "CreateModelPackage": self.create_package,
            "DescribeModelPackage": self.describe_package,
            "UpdateModelPackage": self.update_package,
            "ListModelPackages": self.list_packages,
            "DeleteModelPackage": self.delete_package,
        }

    # --- groups ---
    def _group(self, call: Call) -> Document:
        """Return the group that a request names by its name or its ARN."""
        name = call.request["ModelPackageGroupName"]
        arn = name if name.startswith("arn:") else call.arn(GROUP, name)
        if group := self.store.get(arn):
            return group
        raise invalid(f"ModelPackageGroup {arn} does not exist.")

    def _versions(self, call: Call, group: Document) -> list[Document]:
        return self.store.below(call.arn(PACKAGE, group["ModelPackageGroupName"]) + "/")

    def create_group(self, call: Call) -> Document:
        """Create a group; a name is used once."""
        name = call.request["ModelPackageGroupName"]
        arn = call.arn(GROUP, name)
        with self.store.lock:
            if self.store.get(arn):
                raise invalid(f"Model Package Group already exists: {arn}")
            group = {
                **_pick(call.request, ("ModelPackageGroupDescription",)),
                "ModelPackageGroupName": name,
                "ModelPackageGroupArn": arn,
                "ModelPackageGroupStatus": "Completed",
                "CreationTime": now(),
                "CreatedBy": call.user,
            }
            self.store.put(arn, group)
            self.store.tag(arn, as_dict(call.request.get("Tags")))
        return {"ModelPackageGroupArn": arn}

    def describe_group(self, call: Call) -> Document:
        """Return a group."""
        return self._group(call)

    def list_groups(self, call: Call) -> Document:
        """List groups by a part of their name."""
        part = call.request.get("NameContains", "")
        groups = [
            _pick(group, GROUP_SUMMARY)
            for group in self.store.below(call.arn(GROUP, ""))
            if part in group["ModelPackageGroupName"]
        ]
        sort_keys = {"CreationTime": "CreationTime", "Name": "ModelPackageGroupName"}
        return page(groups, call, "ModelPackageGroupSummaryList", sort_keys)

    def delete_group(self, call: Call) -> Document:
        """Delete an empty group."""
        with self.store.lock:
            group = self._group(call)
            if self._versions(call, group):
                text = "Model Package Group cannot be deleted since it still contains Model Packages: "
                raise AwsError("ConflictException", text + group["ModelPackageGroupArn"])
            self.store.delete(group["ModelPackageGroupArn"])
        return {}

    # --- packages ---
    def _package(self, call: Call, member: str) -> Document:
        """Return the package that a request names by its ARN or as group/version."""
        name = call.request[member]
        arn = name if name.startswith("arn:") else call.arn(PACKAGE, name)
        if package := self.store.get(arn):
            return package
        raise invalid(f"ModelPackage {arn} does not exist.")

    def create_package(self, call: Call) -> Document:
        """Create a new version in its group; the same client token with the same request creates it once."""
        if "ModelPackageGroupName" not in call.request:
            raise invalid("The SageMaker emulation has versioned model packages only: give ModelPackageGroupName")
        with self.store.lock:
            group = self._group(call)
            group_arn = group["ModelPackageGroupArn"]
            request = {name: value for name, value in call.request.items() if name != "ClientToken"}
            token, text = call.request.get("ClientToken"), json.dumps(request, sort_keys=True)
            if token and (existing := self._created_before(group_arn, token, text)):
                return {"ModelPackageArn": existing}
            version = self.store.next_number(group_arn)
            arn = call.arn(PACKAGE, f"{group['ModelPackageGroupName']}/{version}")
            package = {
                "ModelApprovalStatus": "PendingManualApproval",
                **{name: value for name, value in request.items() if name != "Tags"},
                "ModelPackageGroupName": group["ModelPackageGroupName"],
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                "CreationTime": now(),
                "CreatedBy": call.user,
            }
            self.store.put(arn, package)
            self.store.tag(arn, as_dict(call.request.get("Tags")))
            if token:
                self.store.remember(group_arn, token, text, arn)
        return {"ModelPackageArn": arn}

    def _created_before(self, group_arn: str, token: str, request: str) -> str | None:
        """Return the package that a client token has created. Raise ConflictException for another request."""
        first_request, arn = self.store.token(group_arn, token) or ("", "")
        if not arn or not self.store.get(arn):
            return None
        if first_request != request:
            raise AwsError("ConflictException", f"ClientToken {token} was used with other parameters")
        return arn

    def describe_package(self, call: Call) -> Document:
        """Return a package."""
        return self._package(call, "ModelPackageName")

    def update_package(self, call: Call) -> Document:
        """Change approval, description and metadata; LastModifiedBy and LastModifiedTime record who did it and when."""
        with self.store.lock:
            package = self._package(call, "ModelPackageArn")
            package |= _pick(call.request, UPDATED)
            if added := call.request.get("AdditionalInferenceSpecificationsToAdd"):
                specifications = package.get("AdditionalInferenceSpecifications", [])
                package["AdditionalInferenceSpecifications"] = [*specifications, *added]
            removed = call.request.get("CustomerMetadataPropertiesToRemove", [])
            changed = call.request.get("CustomerMetadataProperties", {})
            metadata = package.get("CustomerMetadataProperties", {}) | changed
            package["CustomerMetadataProperties"] = {
                name: value for name, value in metadata.items() if name not in removed
            }
            package |= {"LastModifiedTime": now(), "LastModifiedBy": call.user}
            self.store.put(package["ModelPackageArn"], package)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def list_packages(self, call: Call) -> Document:
        """List packages by group, status and a part of the group's name."""
        request = call.request
        if "ModelPackageGroupName" in request:
            packages = self._versions(call, self._group(call))
        elif request.get("ModelPackageType", "Unversioned") == "Unversioned":
            packages = []  # as on AWS: without a group, only unversioned packages are listed
        else:
            packages = self.store.below(call.arn(PACKAGE, ""))
        status, part = request.get("ModelApprovalStatus"), request.get("NameContains", "")
        summaries = [
            _pick(package, PACKAGE_SUMMARY)
            for package in packages
            if status in (None, package["ModelApprovalStatus"]) and part in package["ModelPackageGroupName"]
        ]
        sort_keys = {"CreationTime": "CreationTime", "Name": "ModelPackageArn"}
        return page(summaries, call, "ModelPackageSummaryList", sort_keys)

    def delete_package(self, call: Call) -> Document:
        """Delete a package."""
        self.store.delete(self._package(call, "ModelPackageName")["ModelPackageArn"])
        return {}
