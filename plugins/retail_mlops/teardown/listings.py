"""What the services of an account list, one function a service. Changes nothing.

The listings are of the project's region; IAM, budgets and bucket names are global anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from botocore.exceptions import ClientError

from include.costs import Kind
from include.settings import MODEL_PACKAGE_GROUP
from retail_mlops.hooks.account import JOB_LOGS, Clients, as_dict
from retail_mlops.hooks.aws_errors import error_code
from retail_mlops.teardown.inventory import Resource

GIB: Final = 1 << 30
HISTORY: Final = frozenset({"sagemaker:training-job", "sagemaker:processing-job"})
"""SageMaker keeps ended jobs for ever, free of charge; nobody can delete them."""
GONE_STATES: Final = ("shutting-down", "terminated", "deleting", "deleted")
PENDING_DELETION: Final = "pending deletion"


def _s3(account: Clients) -> Iterator[Resource]:
    for bucket in account.client("s3").list_buckets()["Buckets"]:
        yield Resource(f"arn:aws:s3:::{bucket['Name']}", bucket["Name"])


def _ecr(account: Clients) -> Iterator[Resource]:
    for repository in account.pages("ecr", "describe_repositories", "repositories"):
        tags = account.client("ecr").list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
        yield Resource(repository["repositoryArn"], repository["repositoryName"], as_dict(tags))


def _sagemaker(account: Clients) -> Iterator[Resource]:
    client = account.client("sagemaker")
    for group in account.pages("sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList"):
        arn, name = group["ModelPackageGroupArn"], group["ModelPackageGroupName"]
        tags = as_dict(client.list_tags(ResourceArn=arn)["Tags"])
        yield Resource(arn, name, tags)
        if name == MODEL_PACKAGE_GROUP:
            for package in account.pages(
                "sagemaker", "list_model_packages", "ModelPackageSummaryList", ModelPackageGroupName=name
            ):
                package_arn = package["ModelPackageArn"]
                yield Resource(package_arn, package_arn.partition("/")[2], tags)
    for kind in ("endpoint", "endpoint_config", "model"):
        title = kind.title().replace("_", "")
        for item in account.pages("sagemaker", f"list_{kind}s", f"{title}s"):
            yield Resource(item[f"{title}Arn"], item[f"{title}Name"])
    for job in account.jobs():
        yield Resource(job.arn, job.name, note=job.status)


def _eks(account: Clients) -> Iterator[Resource]:
    client = account.client("eks")
    for name in account.pages("eks", "list_clusters", "clusters"):
        cluster = client.describe_cluster(name=name)["cluster"]
        vpc = cluster.get("resourcesVpcConfig", {}).get("vpcId", "")
        yield Resource(cluster["arn"], name, cluster.get("tags", {}), vpc, Kind.EKS_CLUSTER, note=cluster["status"])
        for group in account.pages("eks", "list_nodegroups", "nodegroups", clusterName=name):
            described = client.describe_nodegroup(clusterName=name, nodegroupName=group)["nodegroup"]
            tags = described.get("tags", {})
            yield Resource(described["nodegroupArn"], f"{name}/{group}", tags, note=described["status"])


def _ec2_resource(account: Clients, type_: str, id_key: str, item: dict[str, Any], **more: Any) -> Resource:
    """Return the resource of an item of EC2; more: fields of Resource."""
    tags = as_dict(item.get("Tags"))
    name = more.pop("name", tags.get("Name", item[id_key]))
    return Resource(account.arn("ec2", f"{type_}/{item[id_key]}"), name, tags, item.get("VpcId", ""), **more)


def _instances(account: Clients) -> Iterator[Resource]:
    for instance in account.instances():
        state = instance["State"]["Name"]
        if state not in GONE_STATES:
            kind = Kind.EC2_INSTANCE if state in ("pending", "running") else Kind.FREE
            yield _ec2_resource(
                account, "instance", "InstanceId", instance, kind=kind, detail=instance["InstanceType"], note=state
            )


def _volumes(account: Clients) -> Iterator[Resource]:
    for volume in account.pages("ec2", "describe_volumes", "Volumes"):
        if volume["State"] not in GONE_STATES:
            size = volume["Size"]
            yield _ec2_resource(
                account, "volume", "VolumeId", volume, kind=Kind.EBS_GP3_GB, count=size, note=f"{size} GiB"
            )


def _networks(account: Clients) -> Iterator[Resource]:
    """VPCs and what makes up their routing."""
    for vpc in account.pages("ec2", "describe_vpcs", "Vpcs"):
        yield _ec2_resource(account, "vpc", "VpcId", vpc)
    for subnet in account.pages("ec2", "describe_subnets", "Subnets"):
        yield _ec2_resource(account, "subnet", "SubnetId", subnet)
    for table in account.pages("ec2", "describe_route_tables", "RouteTables"):
        if not any(association.get("Main") for association in table.get("Associations", [])):
            yield _ec2_resource(account, "route-table", "RouteTableId", table)
    for gateway in account.pages("ec2", "describe_internet_gateways", "InternetGateways"):
        gateway["VpcId"] = next((attached["VpcId"] for attached in gateway.get("Attachments", [])), "")
        yield _ec2_resource(account, "internet-gateway", "InternetGatewayId", gateway)
    for gateway in account.pages("ec2", "describe_nat_gateways", "NatGateways"):
        if gateway["State"] not in GONE_STATES:
            yield _ec2_resource(account, "natgateway", "NatGatewayId", gateway, note="the project makes none")
    for address in account.client("ec2").describe_addresses()["Addresses"]:
        if "AllocationId" in address:
            yield _ec2_resource(account, "elastic-ip", "AllocationId", address, kind=Kind.PUBLIC_IPV4)


def _network_rules(account: Clients) -> Iterator[Resource]:
    """Security groups and ACLs, without those that go with their VPC."""
    for group in account.pages("ec2", "describe_security_groups", "SecurityGroups"):
        if group["GroupName"] != "default":
            yield _ec2_resource(account, "security-group", "GroupId", group, name=group["GroupName"])
    for acl in account.pages("ec2", "describe_network_acls", "NetworkAcls"):
        if not acl["IsDefault"]:
            yield _ec2_resource(account, "network-acl", "NetworkAclId", acl)


def _interfaces(account: Clients) -> Iterator[Resource]:
    for interface in account.pages("ec2", "describe_network_interfaces", "NetworkInterfaces"):
        interface["Tags"] = interface.get("TagSet", [])
        note = f"{interface['Status']}, {interface.get('Description', '')}".strip(" ,")
        yield _ec2_resource(account, "network-interface", "NetworkInterfaceId", interface, note=note)


def _vpc_endpoints(account: Clients) -> Iterator[Resource]:
    for endpoint in account.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints"):
        if endpoint["State"].lower() not in GONE_STATES:
            kind = Kind.INTERFACE_ENDPOINT if endpoint["VpcEndpointType"] == "Interface" else Kind.FREE
            zones = len(endpoint.get("SubnetIds", [])) or 1
            yield _ec2_resource(
                account, "vpc-endpoint", "VpcEndpointId", endpoint, kind=kind, count=zones, note=endpoint["ServiceName"]
            )


def _launch_templates(account: Clients) -> Iterator[Resource]:
    for template in account.pages("ec2", "describe_launch_templates", "LaunchTemplates"):
        yield _ec2_resource(
            account, "launch-template", "LaunchTemplateId", template, name=template["LaunchTemplateName"]
        )


def _balancers(account: Clients) -> Iterator[Resource]:
    for balancer, tags in account.load_balancers():
        arn, name = balancer["LoadBalancerArn"], balancer["LoadBalancerName"]
        yield Resource(arn, name, tags, balancer.get("VpcId", ""), Kind.LOAD_BALANCER, balancer["Type"])
    for group, tags in account.target_groups():
        yield Resource(group["TargetGroupArn"], group["TargetGroupName"], tags, group.get("VpcId", ""))


def _cloudformation(account: Clients) -> Iterator[Resource]:
    for stack in account.pages("cloudformation", "describe_stacks", "Stacks"):
        if stack["StackStatus"] != "DELETE_COMPLETE":
            yield Resource(stack["StackId"], stack["StackName"], as_dict(stack.get("Tags")), note=stack["StackStatus"])


def _iam(account: Clients) -> Iterator[Resource]:
    client = account.client("iam")
    for role in account.pages("iam", "list_roles", "Roles"):
        if not role["Path"].startswith("/aws-"):  # service-linked: AWS's own
            tags = as_dict(client.list_role_tags(RoleName=role["RoleName"])["Tags"])
            yield Resource(role["Arn"], role["RoleName"], tags)
    for listed in client.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        provider = client.get_open_id_connect_provider(OpenIDConnectProviderArn=listed["Arn"])
        yield Resource(listed["Arn"], listed["Arn"].partition("/")[2], as_dict(provider.get("Tags")))
    for policy in account.pages("iam", "list_policies", "Policies", Scope="Local"):
        yield Resource(policy["Arn"], policy["PolicyName"])
    for profile in account.pages("iam", "list_instance_profiles", "InstanceProfiles"):
        yield Resource(profile["Arn"], profile["InstanceProfileName"])


def _logs(account: Clients) -> Iterator[Resource]:
    for group in account.pages("logs", "describe_log_groups", "logGroups"):
        name = group["logGroupName"]
        arn, size = account.arn("logs", f"log-group:{name}"), group.get("storedBytes", 0)
        if name.startswith(JOB_LOGS):
            for stream in account.job_streams(name):
                yield Resource(f"{arn}:log-stream:{stream}", stream)
            continue
        yield Resource(arn, name, kind=Kind.LOGS_GB, count=size / GIB, note=f"{size:,} bytes")
    yield from _log_queries(account)


def _log_queries(account: Clients) -> Iterator[Resource]:
    """The saved queries; botocore has no paginator for them."""
    request: dict[str, str] = {}
    while True:
        answer = account.client("logs").describe_query_definitions(**request)
        for query in answer["queryDefinitions"]:
            arn = account.arn("logs", f"query-definition:{query['queryDefinitionId']}")
            yield Resource(arn, query["name"], note=query["name"])
        if "nextToken" not in answer:
            return
        request = {"nextToken": answer["nextToken"]}


def _cloudwatch(account: Clients) -> Iterator[Resource]:
    for page in (
        account.client("cloudwatch")
        .get_paginator("describe_alarms")
        .paginate(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    ):
        for alarm in page.get("MetricAlarms", []) + page.get("CompositeAlarms", []):
            yield Resource(alarm["AlarmArn"], alarm["AlarmName"], kind=Kind.ALARM)
    for dashboard in account.pages("cloudwatch", "list_dashboards", "DashboardEntries"):
        yield Resource(dashboard["DashboardArn"], dashboard["DashboardName"], kind=Kind.DASHBOARD)


def _sns(account: Clients) -> Iterator[Resource]:
    for topic in account.pages("sns", "list_topics", "Topics"):
        yield Resource(topic["TopicArn"], topic["TopicArn"].rpartition(":")[2])


def _budgets(account: Clients) -> Iterator[Resource]:
    for budget in account.pages("budgets", "describe_budgets", "Budgets", AccountId=account.account):
        yield Resource(account.arn("budgets", f"budget/{budget['BudgetName']}", region=""), budget["BudgetName"])


def _events(account: Clients) -> Iterator[Resource]:
    for rule in account.pages("events", "list_rules", "Rules"):
        yield Resource(rule["Arn"], rule["Name"])


def _scheduler(account: Clients) -> Iterator[Resource]:
    for schedule in account.pages("scheduler", "list_schedules", "Schedules"):
        yield Resource(schedule["Arn"], schedule["Name"])
    for group in account.pages("scheduler", "list_schedule_groups", "ScheduleGroups"):
        yield Resource(group["Arn"], group["Name"])


def _cloudtrail(account: Clients) -> Iterator[Resource]:
    for trail in account.client("cloudtrail").describe_trails(includeShadowTrails=False)["trailList"]:
        yield Resource(trail["TrailARN"], trail["Name"])


def _kms(account: Clients) -> Iterator[Resource]:
    client = account.client("kms")
    for entry in account.pages("kms", "list_keys", "Keys"):
        try:
            key = client.describe_key(KeyId=entry["KeyId"])["KeyMetadata"]
            if key.get("KeyManager") == "AWS":
                continue
            tags = as_dict(client.list_resource_tags(KeyId=entry["KeyId"])["Tags"])
        except ClientError as error:
            if not error_code(error).startswith("AccessDenied"):
                raise
            account.log.info("Key %s cannot be read, so it is not this environment's: %s", entry["KeyId"], error)
            continue
        if key["KeyState"] == "PendingDeletion":
            until = key["DeletionDate"].date().isoformat()
            yield Resource(key["Arn"], key["KeyId"], tags, note=f"{PENDING_DELETION} until {until}, costs nothing")
        else:
            yield Resource(key["Arn"], key["KeyId"], tags, kind=Kind.KMS_KEY)


Listing = Callable[[Clients], Iterator[Resource]]
LISTINGS: Final[dict[Listing, tuple[str, ...]]] = {
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
    _instances: ("ec2:instance",),
    _volumes: ("ec2:volume",),
    _networks: (
        "ec2:vpc",
        "ec2:subnet",
        "ec2:route-table",
        "ec2:internet-gateway",
        "ec2:natgateway",
        "ec2:elastic-ip",
    ),
    _network_rules: ("ec2:security-group", "ec2:network-acl"),
    _interfaces: ("ec2:network-interface",),
    _vpc_endpoints: ("ec2:vpc-endpoint",),
    _launch_templates: ("ec2:launch-template",),
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
"""Each listing, with the resource types that it covers."""
LISTED: Final = frozenset(type_ for types in LISTINGS.values() for type_ in types)
