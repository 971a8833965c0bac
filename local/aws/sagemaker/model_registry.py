"""Model package groups and their versioned packages: create, describe, list, approve, delete."""

import json

from local.aws.sagemaker.protocol import ApiError, Call, Operation, as_dict, invalid, now, page
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


def _some(document: Document, names: tuple[str, ...]) -> Document:
    return {name: document[name] for name in names if name in document}


class Registry:
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
        """The group that a request names by its name or its ARN."""
        name = call.request["ModelPackageGroupName"]
        arn = name if name.startswith("arn:") else call.arn(GROUP, name)
        if group := self.store.get(arn):
            return group
        raise invalid(f"ModelPackageGroup {arn} does not exist.")

    def _versions(self, call: Call, group: Document) -> list[Document]:
        return self.store.below(call.arn(PACKAGE, group["ModelPackageGroupName"]) + "/")

    def create_group(self, call: Call) -> Document:
        name = call.request["ModelPackageGroupName"]
        arn = call.arn(GROUP, name)
        with self.store.lock:
            if self.store.get(arn):
                raise invalid(f"Model Package Group already exists: {arn}")
            group = {
                **_some(call.request, ("ModelPackageGroupDescription",)),
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
        return self._group(call)

    def list_groups(self, call: Call) -> Document:
        part = call.request.get("NameContains", "")
        groups = [
            _some(group, GROUP_SUMMARY)
            for group in self.store.below(call.arn(GROUP, ""))
            if part in group["ModelPackageGroupName"]
        ]
        sort_keys = {"CreationTime": "CreationTime", "Name": "ModelPackageGroupName"}
        return page(groups, call, "ModelPackageGroupSummaryList", sort_keys)

    def delete_group(self, call: Call) -> Document:
        with self.store.lock:
            group = self._group(call)
            if self._versions(call, group):
                text = "Model Package Group cannot be deleted since it still contains Model Packages: "
                raise ApiError("ConflictException", text + group["ModelPackageGroupArn"])
            self.store.delete(group["ModelPackageGroupArn"])
        return {}

    # --- packages ---
    def _package(self, call: Call, member: str) -> Document:
        """The package that a request names by its ARN or as group/version."""
        name = call.request[member]
        arn = name if name.startswith("arn:") else call.arn(PACKAGE, name)
        if package := self.store.get(arn):
            return package
        raise invalid(f"ModelPackage {arn} does not exist.")

    def create_package(self, call: Call) -> Document:
        """A new version of its group; the same client token with the same request makes one package only."""
        if "ModelPackageGroupName" not in call.request:
            raise invalid("The embedded SageMaker has versioned model packages only: give ModelPackageGroupName")
        with self.store.lock:
            group = self._group(call)
            asked = {name: value for name, value in call.request.items() if name != "ClientToken"}
            token, text = call.request.get("ClientToken"), json.dumps(asked, sort_keys=True)
            known = token and self.store.token(group["ModelPackageGroupArn"], token)
            if known and self.store.get(known[1]):
                if known[0] != text:
                    raise ApiError("ConflictException", f"ClientToken {token} was used with other parameters")
                return {"ModelPackageArn": known[1]}
            version = self.store.next_number(group["ModelPackageGroupArn"])
            arn = call.arn(PACKAGE, f"{group['ModelPackageGroupName']}/{version}")
            package = {
                "ModelApprovalStatus": "PendingManualApproval",
                **{name: value for name, value in asked.items() if name != "Tags"},
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
                self.store.remember(group["ModelPackageGroupArn"], token, text, arn)
        return {"ModelPackageArn": arn}

    def describe_package(self, call: Call) -> Document:
        return self._package(call, "ModelPackageName")

    def update_package(self, call: Call) -> Document:
        """Approval, description, metadata; who did it and when stay in LastModifiedBy and LastModifiedTime."""
        with self.store.lock:
            package = self._package(call, "ModelPackageArn")
            package |= _some(call.request, UPDATED)
            if more := call.request.get("AdditionalInferenceSpecificationsToAdd"):
                package["AdditionalInferenceSpecifications"] = [
                    *package.get("AdditionalInferenceSpecifications", []),
                    *more,
                ]
            gone = call.request.get("CustomerMetadataPropertiesToRemove", [])
            metadata = package.get("CustomerMetadataProperties", {}) | call.request.get(
                "CustomerMetadataProperties", {}
            )
            package["CustomerMetadataProperties"] = {k: v for k, v in metadata.items() if k not in gone}
            package |= {"LastModifiedTime": now(), "LastModifiedBy": call.user}
            self.store.put(package["ModelPackageArn"], package)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def list_packages(self, call: Call) -> Document:
        request = call.request
        if "ModelPackageGroupName" in request:
            packages = self._versions(call, self._group(call))
        elif request.get("ModelPackageType", "Unversioned") == "Unversioned":
            packages = []  # as on AWS: without a group, only unversioned packages are listed
        else:
            packages = self.store.below(call.arn(PACKAGE, ""))
        status, part = request.get("ModelApprovalStatus"), request.get("NameContains", "")
        found = [
            _some(package, PACKAGE_SUMMARY)
            for package in packages
            if status in (None, package["ModelApprovalStatus"]) and part in package["ModelPackageGroupName"]
        ]
        sort_keys = {"CreationTime": "CreationTime", "Name": "ModelPackageArn"}
        return page(found, call, "ModelPackageSummaryList", sort_keys)

    def delete_package(self, call: Call) -> Document:
        self.store.delete(self._package(call, "ModelPackageName")["ModelPackageArn"])
        return {}
