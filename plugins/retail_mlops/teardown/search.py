"""Everything that an account's services list, and what of it is the environment's: by tag and by direct listing.

The provider has no hook for the tagging API and none that lists across services. The listings are of the project's
region; IAM, budgets and bucket names are global anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from botocore.exceptions import ClientError

from include.costs import Kind
from include.settings import GITHUB_ISSUER, MODEL_PACKAGE_GROUP, PROJECT, settings
from retail_mlops.hooks.account import JOB_LOGS, Clients, as_dict, code
from retail_mlops.teardown.inventory import Inventory, Resource, Scope, sort_of, split

GIB: Final = 1 << 30
HISTORY: Final = frozenset({"sagemaker:training-job", "sagemaker:processing-job"})
"""SageMaker keeps ended jobs for ever, free of charge; nobody can delete them."""
GONE_STATES: Final = ("shutting-down", "terminated", "deleting", "deleted")
PENDING: Final = "pending deletion"
SHARED_LOGIN: Final = "GitHub's login, which an account has once: other environments may use it"


class InventoryHook(Clients):
    """Lists; changes nothing."""

    def take(self, keep_data: bool = False) -> Inventory:
        """What is left of the environment, and what stays on purpose (the lake with keep_data, the caller itself)."""
        listed = [resource for listing in LISTINGS for resource in listing(self)]
        resources = self._with_tag_hits(listed)
        scope = Scope.of(settings().environment, resources)
        ours = [self._measured(resource) for resource in resources if scope.why(resource)]
        caller = self._caller()
        kept = self._kept(ours, keep_data) | {caller.arn: "the identity that this runs as"}
        return split([*ours, caller], scope, kept)

    # --- by tag ---
    def _with_tag_hits(self, listed: list[Resource]) -> list[Resource]:
        """The listings with the tags that the tagging API knows, and what only that API knows.

        It answers deleted things for hours. A hit of a sort that is listed directly, and is not in that list, is gone.
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
        there = {resource.arn for resource in listed}
        both = [replace(r, tags={**hits[r.arn], **r.tags}) if r.arn in hits else r for r in listed]
        unlisted = {arn: tags for arn, tags in hits.items() if arn not in there}
        if ended := sum(sort_of(arn) in HISTORY for arn in unlisted):
            self.log.info(
                "%s ended jobs stay in SageMaker's history: free of charge, and nobody can delete them", ended
            )
        for arn in [arn for arn in unlisted if sort_of(arn) in LISTED]:
            if sort_of(arn) not in HISTORY:
                self.log.info("the tagging API still names %s, but its service does not list it: gone", arn)
            del unlisted[arn]
        return both + [
            Resource(arn, arn.rpartition(":")[2], tags, note="no direct listing") for arn, tags in unlisted.items()
        ]

    # --- what costs by what it holds ---
    def _measured(self, resource: Resource) -> Resource:
        if sort_of(resource.arn) == "s3":
            return self._bucket(resource)
        if sort_of(resource.arn) == "ecr:repository":
            images = list(self.pages("ecr", "describe_images", "imageDetails", repositoryName=resource.name))
            size = sum(image.get("imageSizeInBytes", 0) for image in images)
            return replace(resource, kind=Kind.ECR_GB, count=size / GIB, note=f"{len(images)} images")
        return resource

    def _bucket(self, resource: Resource) -> Resource:
        versions, markers, size, named = 0, 0, 0, []
        for page in self.client("s3").get_paginator("list_object_versions").paginate(Bucket=resource.name):
            versions += len(page.get("Versions", []))
            markers += len(page.get("DeleteMarkers", []))
            size += sum(version["Size"] for version in page.get("Versions", []))
            if len(named) < 3:
                both = page.get("Versions", []) + page.get("DeleteMarkers", [])
                named += [f"{one['Key']} ({one['VersionId']})" for one in both][: 3 - len(named)]
        note = f"{versions} object versions and {markers} delete markers"
        note += (
            f", {size / GIB:.3f} GiB: {', '.join(named)}{', …' if versions + markers > len(named) else ''}"
            if named
            else ""
        )
        return replace(resource, kind=Kind.S3_GB, count=size / GIB, note=note)

    # --- what stays ---
    def _caller(self) -> Resource:
        arn = self.client("sts").get_caller_identity()["Arn"]
        return Resource(arn, arn.rpartition("/")[2])

    @staticmethod
    def _kept(ours: list[Resource], keep_data: bool) -> dict[str, str]:
        kept = {r.arn: r.note for r in ours if r.note.startswith(PENDING)}
        kept |= {r.arn: SHARED_LOGIN for r in ours if (sort_of(r.arn), r.name) == ("iam:oidc-provider", GITHUB_ISSUER)}
        if keep_data:
            lake = {("s3", settings().bucket), ("cloudformation:stack", settings().stack("lake"))}
            kept |= {r.arn: "keep_data" for r in ours if (sort_of(r.arn), r.name) in lake}
        return kept


# --- direct listings, one a service ----------------------------------------------------------------------------------
def _s3(at: InventoryHook) -> Iterator[Resource]:
    for bucket in at.client("s3").list_buckets()["Buckets"]:
        yield Resource(f"arn:aws:s3:::{bucket['Name']}", bucket["Name"])


def _ecr(at: InventoryHook) -> Iterator[Resource]:
    for one in at.pages("ecr", "describe_repositories", "repositories"):
        tags = at.client("ecr").list_tags_for_resource(resourceArn=one["repositoryArn"])["tags"]
        yield Resource(one["repositoryArn"], one["repositoryName"], as_dict(tags))


def _sagemaker(at: InventoryHook) -> Iterator[Resource]:
    client = at.client("sagemaker")
    for group in at.pages("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList"):
        arn, name = group["ModelPackageGroupArn"], group["ModelPackageGroupName"]
        tags = as_dict(client.list_tags(ResourceArn=arn)["Tags"])
        yield Resource(arn, name, tags)
        if name == MODEL_PACKAGE_GROUP:
            for package in at.pages(
                "sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=name
            ):
                package_arn = package["ModelPackageArn"]
                yield Resource(package_arn, package_arn.partition("/")[2], tags)
    for kind in ("endpoint", "endpoint_config", "model"):
        title = kind.title().replace("_", "")
        for one in at.pages("sagemaker", f"list_{kind}s", f"{title}s"):
            yield Resource(one[f"{title}Arn"], one[f"{title}Name"])
    for job in at.jobs():
        yield Resource(job.arn, job.name, note=job.status)


def _eks(at: InventoryHook) -> Iterator[Resource]:
    client = at.client("eks")
    for name in at.pages("eks", "list_clusters", "clusters"):
        cluster = client.describe_cluster(name=name)["cluster"]
        vpc = cluster.get("resourcesVpcConfig", {}).get("vpcId", "")
        yield Resource(cluster["arn"], name, cluster.get("tags", {}), vpc, Kind.EKS_CLUSTER, note=cluster["status"])
        for group in at.pages("eks", "list_nodegroups", "nodegroups", clusterName=name):
            found = client.describe_nodegroup(clusterName=name, nodegroupName=group)["nodegroup"]
            yield Resource(found["nodegroupArn"], f"{name}/{group}", found.get("tags", {}), note=found["status"])


def _ec2(at: InventoryHook) -> Iterator[Resource]:
    def made(type_: str, id_key: str, one: dict[str, Any], **more: Any) -> Resource:
        tags = as_dict(one.get("Tags"))
        name = more.pop("name", tags.get("Name", one[id_key]))
        return Resource(at.arn("ec2", f"{type_}/{one[id_key]}"), name, tags, one.get("VpcId", ""), **more)

    for one in at.instances():
        state = one["State"]["Name"]
        if state not in GONE_STATES:
            kind = Kind.EC2_INSTANCE if state in ("pending", "running") else Kind.FREE
            yield made("instance", "InstanceId", one, kind=kind, detail=one["InstanceType"], note=state)
    for one in at.pages("ec2", "describe_volumes", "Volumes"):
        if one["State"] not in GONE_STATES:
            yield made("volume", "VolumeId", one, kind=Kind.EBS_GP3_GB, count=one["Size"], note=f"{one['Size']} GiB")
    for one in at.pages("ec2", "describe_vpcs", "Vpcs"):
        yield made("vpc", "VpcId", one)
    for one in at.pages("ec2", "describe_subnets", "Subnets"):
        yield made("subnet", "SubnetId", one)
    for one in at.pages("ec2", "describe_security_groups", "SecurityGroups"):
        if one["GroupName"] != "default":  # goes with its VPC
            yield made("security-group", "GroupId", one, name=one["GroupName"])
    for one in at.pages("ec2", "describe_network_interfaces", "NetworkInterfaces"):
        one["Tags"] = one.get("TagSet", [])
        yield made(
            "network-interface",
            "NetworkInterfaceId",
            one,
            note=f"{one['Status']}, {one.get('Description', '')}".strip(" ,"),
        )
    for one in at.pages("ec2", "describe_route_tables", "RouteTables"):
        if not any(association.get("Main") for association in one.get("Associations", [])):
            yield made("route-table", "RouteTableId", one)
    for one in at.pages("ec2", "describe_internet_gateways", "InternetGateways"):
        one["VpcId"] = next((attached["VpcId"] for attached in one.get("Attachments", [])), "")
        yield made("internet-gateway", "InternetGatewayId", one)
    for one in at.pages("ec2", "describe_network_acls", "NetworkAcls"):
        if not one["IsDefault"]:
            yield made("network-acl", "NetworkAclId", one)
    for one in at.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints"):
        if one["State"].lower() not in GONE_STATES:
            zones, kind = len(one.get("SubnetIds", [])), Kind.FREE
            if one["VpcEndpointType"] == "Interface":
                kind = Kind.INTERFACE_ENDPOINT
            yield made("vpc-endpoint", "VpcEndpointId", one, kind=kind, count=zones or 1, note=one["ServiceName"])
    for one in at.pages("ec2", "describe_nat_gateways", "NatGateways"):
        if one["State"] not in GONE_STATES:
            yield made("natgateway", "NatGatewayId", one, note="we make none")
    for one in at.client("ec2").describe_addresses()["Addresses"]:
        if "AllocationId" in one:
            yield made("elastic-ip", "AllocationId", one, kind=Kind.PUBLIC_IPV4)
    for one in at.pages("ec2", "describe_launch_templates", "LaunchTemplates"):
        yield made("launch-template", "LaunchTemplateId", one, name=one["LaunchTemplateName"])


def _balancers(at: InventoryHook) -> Iterator[Resource]:
    for one, tags in at.load_balancers():
        arn, name = one["LoadBalancerArn"], one["LoadBalancerName"]
        yield Resource(arn, name, tags, one.get("VpcId", ""), Kind.LOAD_BALANCER, one["Type"])
    for one, tags in at.target_groups():
        yield Resource(one["TargetGroupArn"], one["TargetGroupName"], tags, one.get("VpcId", ""))


def _cloudformation(at: InventoryHook) -> Iterator[Resource]:
    for stack in at.pages("cloudformation", "describe_stacks", "Stacks"):
        if stack["StackStatus"] != "DELETE_COMPLETE":
            yield Resource(stack["StackId"], stack["StackName"], as_dict(stack.get("Tags")), note=stack["StackStatus"])


def _iam(at: InventoryHook) -> Iterator[Resource]:
    client = at.client("iam")
    for role in at.pages("iam", "list_roles", "Roles"):
        if not role["Path"].startswith("/aws-"):  # service-linked: AWS's own
            tags = as_dict(client.list_role_tags(RoleName=role["RoleName"])["Tags"])
            yield Resource(role["Arn"], role["RoleName"], tags)
    for one in client.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        provider = client.get_open_id_connect_provider(OpenIDConnectProviderArn=one["Arn"])
        yield Resource(one["Arn"], one["Arn"].partition("/")[2], as_dict(provider.get("Tags")))
    for policy in at.pages("iam", "list_policies", "Policies", Scope="Local"):
        yield Resource(policy["Arn"], policy["PolicyName"])
    for profile in at.pages("iam", "list_instance_profiles", "InstanceProfiles"):
        yield Resource(profile["Arn"], profile["InstanceProfileName"])


def _logs(at: InventoryHook) -> Iterator[Resource]:
    for group in at.pages("logs", "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        arn, size = at.arn("logs", f"log-group:{name}"), group.get("storedBytes", 0)
        if name.startswith(JOB_LOGS):
            for stream in at.job_streams(name):
                yield Resource(f"{arn}:log-stream:{stream}", stream)
            continue
        yield Resource(arn, name, kind=Kind.LOGS_GB, count=size / GIB, note=f"{size:,} bytes")
    client, token = at.client("logs"), {}
    while True:
        answer = client.describe_query_definitions(**token)
        for one in answer["queryDefinitions"]:
            yield Resource(
                at.arn("logs", f"query-definition:{one['queryDefinitionId']}"), one["name"], note=one["name"]
            )
        if "nextToken" not in answer:
            return
        token = {"nextToken": answer["nextToken"]}


def _cloudwatch(at: InventoryHook) -> Iterator[Resource]:
    for page in (
        at.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    ):
        for alarm in page.get("MetricAlarms", []) + page.get("CompositeAlarms", []):
            yield Resource(alarm["AlarmArn"], alarm["AlarmName"], kind=Kind.ALARM)
    for one in at.pages("cloudwatch", "list_dashboards", "DashboardEntries"):
        yield Resource(one["DashboardArn"], one["DashboardName"], kind=Kind.DASHBOARD)


def _sns(at: InventoryHook) -> Iterator[Resource]:
    for topic in at.pages("sns", "list_topics", "Topics"):
        yield Resource(topic["TopicArn"], topic["TopicArn"].rpartition(":")[2])


def _budgets(at: InventoryHook) -> Iterator[Resource]:
    for budget in at.pages("budgets", "describe_budgets", "Budgets", AccountId=at.account):
        yield Resource(at.arn("budgets", f"budget/{budget['BudgetName']}", region=""), budget["BudgetName"])


def _events(at: InventoryHook) -> Iterator[Resource]:
    for rule in at.pages("events", "list_rules", "Rules"):
        yield Resource(rule["Arn"], rule["Name"])


def _scheduler(at: InventoryHook) -> Iterator[Resource]:
    for schedule in at.pages("scheduler", "list_schedules", "Schedules"):
        yield Resource(schedule["Arn"], schedule["Name"])
    for group in at.pages("scheduler", "list_schedule_groups", "ScheduleGroups"):
        yield Resource(group["Arn"], group["Name"])


def _cloudtrail(at: InventoryHook) -> Iterator[Resource]:
    for trail in at.client("cloudtrail").describe_trails(includeShadowTrails=False)["trailList"]:
        yield Resource(trail["TrailARN"], trail["Name"])


def _kms(at: InventoryHook) -> Iterator[Resource]:
    client = at.client("kms")
    for entry in at.pages("kms", "list_keys", "Keys"):
        try:
            key = client.describe_key(KeyId=entry["KeyId"])["KeyMetadata"]
            if key.get("KeyManager") == "AWS":
                continue
            tags = as_dict(client.list_resource_tags(KeyId=entry["KeyId"])["Tags"])
        except ClientError as error:
            if not code(error).startswith("AccessDenied"):
                raise
            at.log.info("key %s cannot be read, so it is none of ours: %s", entry["KeyId"], error)
            continue
        if key["KeyState"] == "PendingDeletion":
            until = key["DeletionDate"].date().isoformat()
            yield Resource(key["Arn"], key["KeyId"], tags, note=f"{PENDING} until {until}, costs nothing")
        else:
            yield Resource(key["Arn"], key["KeyId"], tags, kind=Kind.KMS_KEY)


LISTINGS: Final = {
    _s3: ("s3",),
    _ecr: ("ecr:repository",),
    _sagemaker: (
        "sagemaker:model-package-group",
        "sagemaker:model-package",
        "sagemaker:endpoint",
        "sagemaker:endpoint-config",
        "sagemaker:model",
        *HISTORY,
    ),
    # add-ons and access entries are parts of a cluster and go with it
    _eks: ("eks:cluster", "eks:nodegroup", "eks:addon", "eks:access-entry"),
    _ec2: (
        "ec2:instance",
        "ec2:volume",
        "ec2:vpc",
        "ec2:subnet",
        "ec2:security-group",
        "ec2:network-interface",
        "ec2:route-table",
        "ec2:internet-gateway",
        "ec2:network-acl",
        "ec2:vpc-endpoint",
        "ec2:natgateway",
        "ec2:elastic-ip",
        "ec2:launch-template",
    ),
    _balancers: ("elasticloadbalancing:loadbalancer", "elasticloadbalancing:targetgroup"),
    _cloudformation: ("cloudformation:stack",),
    _iam: ("iam:role", "iam:oidc-provider", "iam:policy", "iam:instance-profile"),
    _logs: ("logs:log-group", "logs:query-definition"),
    _cloudwatch: ("cloudwatch:alarm", "cloudwatch:dashboard"),
    _sns: ("sns",),
    _budgets: ("budgets:budget",),
    _events: ("events:rule",),
    _scheduler: ("scheduler:schedule", "scheduler:schedule-group"),
    _cloudtrail: ("cloudtrail:trail",),
    _kms: ("kms:key",),
}
"""Each listing, with the sorts of ARN that it covers."""
LISTED: Final = frozenset(sort for sorts in LISTINGS.values() for sort in sorts)
