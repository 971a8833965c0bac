"""Finds what of an account belongs to the environment: by tag, and by listing every service. Changes nothing.

The provider has no hook for the tagging API and none that lists across services.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from include.costs import Kind
from include.settings import GITHUB_ISSUER, PROJECT, settings
from retail_mlops.hooks.account import Clients, as_dict
from retail_mlops.teardown.inventory import Inventory, Resource, Scope, resource_type, take_inventory
from retail_mlops.teardown.listings import GIB, HISTORY, LISTED, LISTINGS, PENDING_DELETION

SHARED_LOGIN: Final = "GitHub's login, which an account has once: other environments may use it"
CALLER: Final = "the identity that this runs as"
NAMED_OBJECTS: Final = 3
"""How many objects of a bucket its note names."""


class InventoryHook(Clients):
    """Takes the inventory of the environment."""

    def take(self, keep_data: bool = False) -> Inventory:
        """Return what is left, and what stays on purpose (the lake with keep_data, the caller itself)."""
        listed = [resource for listing in LISTINGS for resource in listing(self)]
        resources = self._with_tag_hits(listed)
        scope = Scope.from_resources(settings().environment, resources)
        own = [self._with_size(resource) for resource in resources if scope.why(resource)]
        caller = self._caller()
        kept = self._kept(own, keep_data) | {caller.arn: CALLER}
        return take_inventory([*own, caller], scope, kept)

    # --- by tag ---
    def _with_tag_hits(self, listed: list[Resource]) -> list[Resource]:
        """Return the listed resources with the tags that the tagging API knows, and what only that API knows.

        It answers deleted resources for hours. A hit of a type that is listed directly, and is not in that list, is
        gone.
        """
        hits = {
            hit["ResourceARN"]: as_dict(hit["Tags"])
            for hit in self.pages(
                "resourcegroupstaggingapi",
                "get_resources",
                "ResourceTagMappingList",
                TagFilters=[{"Key": "Project", "Values": [PROJECT]}],
            )
        }
        tagged = [replace(r, tags={**hits[r.arn], **r.tags}) if r.arn in hits else r for r in listed]
        return tagged + self._only_tagged(hits, {resource.arn for resource in listed})

    def _only_tagged(self, hits: dict[str, dict[str, str]], listed: set[str]) -> list[Resource]:
        """Return the hits of the tagging API that no listing covers."""
        unlisted = {arn: tags for arn, tags in hits.items() if arn not in listed}
        if ended := sum(resource_type(arn) in HISTORY for arn in unlisted):
            self.log.info(
                "%s ended jobs stay in SageMaker's history: free of charge, and nobody can delete them", ended
            )
        for arn in unlisted:
            if resource_type(arn) in LISTED - HISTORY:
                self.log.info("The tagging API still names %s, but its service does not list it: gone", arn)
        return [
            Resource(arn, arn.rpartition(":")[2], tags, note="no direct listing")
            for arn, tags in unlisted.items()
            if resource_type(arn) not in LISTED
        ]

    # --- what costs by its size ---
    def _with_size(self, resource: Resource) -> Resource:
        if resource_type(resource.arn) == "s3":
            return self._bucket_with_size(resource)
        if resource_type(resource.arn) == "ecr:repository":
            images = list(self.pages("ecr", "describe_images", "imageDetails", repositoryName=resource.name))
            size = sum(image.get("imageSizeInBytes", 0) for image in images)
            return replace(resource, kind=Kind.ECR_GB, count=size / GIB, note=f"{len(images)} images")
        return resource

    def _bucket_with_size(self, resource: Resource) -> Resource:
        versions = markers = size = 0
        named: list[str] = []
        for page in self.client("s3").get_paginator("list_object_versions").paginate(Bucket=resource.name):
            page_versions, page_markers = page.get("Versions", []), page.get("DeleteMarkers", [])
            versions += len(page_versions)
            markers += len(page_markers)
            size += sum(version["Size"] for version in page_versions)
            objects = (page_versions + page_markers)[: NAMED_OBJECTS - len(named)]
            named += [f"{item['Key']} ({item['VersionId']})" for item in objects]
        note = f"{versions} object versions and {markers} delete markers"
        if named:
            more = ", …" if versions + markers > len(named) else ""
            note += f", {size / GIB:.3f} GiB: {', '.join(named)}{more}"
        return replace(resource, kind=Kind.S3_GB, count=size / GIB, note=note)

    # --- what stays ---
    def _caller(self) -> Resource:
        arn = self.client("sts").get_caller_identity()["Arn"]
        return Resource(arn, arn.rpartition("/")[2])

    @staticmethod
    def _kept(own: list[Resource], keep_data: bool) -> dict[str, str]:
        """Return ARN → reason of what stays on purpose."""
        identities = {(resource_type(r.arn), r.name): r.arn for r in own}
        kept = {r.arn: r.note for r in own if r.note.startswith(PENDING_DELETION)}
        reasons = {("iam:oidc-provider", GITHUB_ISSUER): SHARED_LOGIN}
        if keep_data:
            reasons |= {
                ("s3", settings().bucket): "keep_data",
                ("cloudformation:stack", settings().stack("lake")): "keep_data",
            }
        return kept | {identities[key]: reason for key, reason in reasons.items() if key in identities}
