"""The CloudFormation templates keep the project's rules: tags, names, region, least privilege."""

import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.telemetry.cloudwatch import MetricWindow
from include import templates
from include.settings import (
    CONTROLLER_REPOSITORY,
    GITHUB_ISSUER,
    JOBS_REPOSITORY,
    METRIC_NAMESPACE,
    MODEL_PACKAGE_GROUP,
    REGION,
    TIMEZONE,
    Settings,
    settings,
)

INFRA = Path(__file__).resolve().parents[2] / "infra"
TEMPLATES = sorted(INFRA.glob("*.yaml"))
TAGS = {"Project", "Environment", "Component", "Owner", "CostCenter"}
UNTAGGED = {
    "AWS::S3::BucketPolicy",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
    "AWS::EC2::Route",
    "AWS::EC2::LaunchTemplate",  # carries TagSpecifications, tested below
    "AWS::CloudWatch::Dashboard",
    "AWS::Logs::QueryDefinition",
    "AWS::Scheduler::Schedule",  # its group has them
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
}
"""Types to which CloudFormation gives no Tags property."""
TAGS_OF = {"AWS::Budgets::Budget": "ResourceTags"}
"""Where the property has another name."""
NO_NARROWER_RESOURCE = re.compile(
    r"ecr:GetAuthorizationToken|cloudwatch:(PutMetricData|GetMetric\w+|ListMetrics)|sagemaker:List\w+"
    r"|ec2:Describe(?!Attribute)\w+|elasticloadbalancing:Describe\w+"
)
"""Actions that AWS offers on `*` only."""


def load(path: Path) -> dict[str, Any]:
    return templates.read(path.read_text())


@pytest.fixture(params=TEMPLATES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def template(path) -> dict[str, Any]:
    return load(path)


def resource(template: str, name: str) -> dict[str, Any]:
    return load(INFRA / f"{template}.yaml")["Resources"][name]["Properties"]


def statements(properties: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for policy in properties.get("Policies", []) for entry in policy["PolicyDocument"]["Statement"]]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def targets_of(properties: dict[str, Any], action: re.Pattern[str]) -> list[str]:
    """What the statements that allow such an action allow it on."""
    matching = [one for one in statements(properties) if any(map(action.match, listed(one["Action"])))]
    return [str(target) for statement in matching for target in listed(statement["Resource"])]


def test_the_stacks_are_there():
    every_time = {"network", "lake", "registry", "identity", "cluster", "observability", "budget"}
    assert {path.stem for path in TEMPLATES} == every_time | {"audit"}


def test_every_resource_carries_the_tags_of_its_component(path, template):
    for name, item in template["Resources"].items():
        if item["Type"] in UNTAGGED:
            assert "Tags" not in item.get("Properties", {}), f"{name} can carry tags: take it off the list"
            continue
        tags = item["Properties"][TAGS_OF.get(item["Type"], "Tags")]
        named = tags if isinstance(tags, dict) else {str(tag["Key"]): tag["Value"] for tag in tags}
        assert set(named) >= TAGS, name
        assert named["Project"] == "RetailMLOps", name
        assert named["Component"] == path.stem, name


def test_instances_and_disks_of_nodes_are_tagged():
    launch = resource("cluster", "NodeTemplate")
    kinds = {entry["ResourceType"]: entry["Tags"] for entry in launch["LaunchTemplateData"]["TagSpecifications"]}
    assert set(kinds) == {"instance", "volume"}
    assert all({tag["Key"] for tag in tags} >= TAGS for tags in kinds.values())


def test_names_of_roles_and_exports_begin_with_the_project():
    items = [item for path in TEMPLATES for item in load(path)["Resources"].values()]
    roles = [item["Properties"]["RoleName"]["Sub"] for item in items if item["Type"] == "AWS::IAM::Role"]
    assert roles
    assert [name for name in roles if not name.startswith("mlops-retail-${Environment}-")] == []
    outputs = [pair for path in TEMPLATES for pair in load(path).get("Outputs", {}).items()]
    exports = {name: output["Export"]["Name"]["Sub"] for name, output in outputs if "Export" in output}
    assert exports
    assert exports == {name: f"mlops-retail-${{Environment}}-{name}" for name in exports}


def test_names_are_those_that_the_code_uses():
    roles = {
        item["Properties"]["RoleName"]["Sub"].replace("${Environment}", settings().environment)
        for path in TEMPLATES
        for item in load(path)["Resources"].values()
        if item["Type"] == "AWS::IAM::Role"
    }
    names = ("job", "airflow", "api", "cluster", "node", "push", "deploy", "backstop", "alb-controller")
    assert roles == {settings().role(name).rpartition("/")[2] for name in names}
    assert resource("registry", "ModelPackageGroup")["ModelPackageGroupName"] == MODEL_PACKAGE_GROUP
    assert resource("registry", "JobsRepository")["RepositoryName"] == JOBS_REPOSITORY
    assert resource("registry", "ControllerRepository")["RepositoryName"] == CONTROLLER_REPOSITORY
    bucket = resource("lake", "Bucket")["BucketName"]["Sub"]
    assert bucket.replace("${Environment}", "dev").replace("${AWS::AccountId}", "123456789012") == settings().bucket


def test_no_statement_allows_every_action(template):
    for name, item in template["Resources"].items():
        for statement in statements(item.get("Properties", {})):
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in listed(statement["Action"])), (name, statement["Sid"])
            assert "NotAction" not in statement


def test_every_resource_is_allowed_only_where_aws_has_no_narrower_one():
    items = [item for path in TEMPLATES for item in load(path)["Resources"].values()]
    allowed = [statement for item in items for statement in statements(item.get("Properties", {}))]
    everywhere = {action for one in allowed if "*" in listed(one["Resource"]) for action in listed(one["Action"])}
    assert everywhere
    assert {action for action in everywhere if not NO_NARROWER_RESOURCE.fullmatch(action)} == set()


def test_no_other_region_is_named(path):
    regions = set(re.findall(r"\b(?:us|eu|ap|sa|ca|me|af)-[a-z]+-\d\b", path.read_text()))
    assert regions <= {REGION}


def test_bucket_is_closed_encrypted_and_versioned():
    bucket = resource("lake", "Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"]["Status"] == "Enabled"
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    deny = resource("lake", "BucketPolicy")["PolicyDocument"]["Statement"][0]
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_life_cycle_never_touches_releases():
    prefixes = [rule["Prefix"] for rule in resource("lake", "Bucket")["LifecycleConfiguration"]["Rules"]]
    moving = [prefix for prefix in prefixes if prefix]
    assert not any("artifacts/releases/x".startswith(prefix) for prefix in moving)
    assert not any("logs/deployments/x".startswith(prefix) for prefix in moving)


@pytest.mark.parametrize("role", ["JobRole", "AirflowRole"])
def test_nobody_but_the_person_writes_raw_files(role):
    changing = re.compile("s3:(Put|Delete|Abort)")
    targets = targets_of(resource("identity", role), changing)
    assert targets
    assert [target for target in targets if "/raw/" in target or target.endswith("}/*'}")] == []


def test_jobs_cannot_touch_what_a_release_serves_from():
    targets = targets_of(resource("identity", "JobRole"), re.compile("s3:PutObject"))
    assert targets
    assert [target for target in targets if "releases" in target or "artifacts/*" in target] == []


def test_pods_may_become_the_api_role_and_nobody_else():
    text = resource("cluster", "ApiRole")["AssumeRolePolicyDocument"]["Fn::Sub"][0]
    assert '"${Issuer}:sub": "system:serviceaccount:mlops:retail-api-sa"' in text
    assert '"${Issuer}:aud": "sts.amazonaws.com"' in text


def test_pods_of_the_controller_may_become_its_role_and_nobody_else():
    text = resource("cluster", "ControllerRole")["AssumeRolePolicyDocument"]["Fn::Sub"][0]
    account = "aws-load-balancer-controller:aws-load-balancer-controller"
    assert f'"${{Issuer}}:sub": "system:serviceaccount:{account}"' in text
    assert '"${Issuer}:aud": "sts.amazonaws.com"' in text


def test_controller_changes_only_what_carries_the_clusters_name():
    role = resource("cluster", "ControllerRole")
    for statement in statements(role):
        if statement["Sid"] in ("Look", "MakeInOurNetwork", "LetTheLoadBalancerReachThePods", "FirstInTheAccount"):
            continue  # reads; makes nothing by itself; one security group; AWS's own role
        asked = statement["Condition"]["StringEquals"]
        tags = {key: value for key, value in asked.items() if key.endswith("Tag/elbv2.k8s.aws/cluster")}
        assert list(tags.values()) == [{"Ref": "ClusterName"}], statement["Sid"]
    own = next(one for one in statements(role) if one["Sid"] == "LetTheLoadBalancerReachThePods")
    assert own["Resource"]["Sub"].endswith(":security-group/${Cluster.ClusterSecurityGroupId}")
    tagging = next(one for one in statements(role) if one["Sid"] == "TagWhatIsBeingMade" and "elastic" in one["Action"])
    made = ["CreateLoadBalancer", "CreateTargetGroup", "CreateListener", "CreateRule"]
    assert tagging["Condition"]["StringEquals"]["elasticloadbalancing:CreateAction"] == made
    made_in = [one["Sid"] for one in statements(role) if listed(one["Action"]) == ["ec2:CreateSecurityGroup"]]
    assert made_in == ["MakeInOurNetwork", "MakeWithTheClustersName"]  # IAM asks for the VPC and for the group


@pytest.mark.parametrize(
    ("stack", "name"),
    [("network", "LoadBalancingEndpoint"), ("registry", "ControllerRepository"), ("cluster", "ControllerRole")],
)
def test_what_an_alb_needs_is_made_for_an_alb_only(stack, name):
    template = load(INFRA / f"{stack}.yaml")
    assert template["Resources"][name]["Condition"] == "WithController"
    assert template["Conditions"]["WithController"] == {"Equals": [{"Ref": "EndpointKind"}, "alb"]}


def test_main_on_github_only_pushes_and_its_environments_only_become_airflow():
    """A job of main alone, with whatever actions are in it, must not approve or release a model."""
    roles = {name: resource("identity", name) for name in ("PushRole", "DeployRole")}
    asked = {}
    for name, role in roles.items():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        asked[name] = trust["Condition"]["StringEquals"]
        assert asked[name]["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    main = {"Sub": "repo:${GitHubRepository}:ref:refs/heads/main"}
    assert asked["PushRole"]["token.actions.githubusercontent.com:sub"] == main
    assert asked["DeployRole"]["token.actions.githubusercontent.com:ref"] == "refs/heads/main"
    assert [one["Sub"] for one in asked["DeployRole"]["token.actions.githubusercontent.com:sub"]] == [
        "repo:${GitHubRepository}:environment:${Environment}",
        "repo:${GitHubRepository}:environment:${Environment}-retrain",
    ]
    allowed = {
        name: {action for entry in statements(role) for action in listed(entry["Action"])}
        for name, role in roles.items()
    }
    assert {action.partition(":")[0] for action in allowed["PushRole"]} == {"ecr"}
    assert not any("Delete" in action for action in allowed["PushRole"])
    assert allowed["DeployRole"] == {"sts:AssumeRole"}
    may_become_airflow = resource("identity", "AirflowRole")["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]
    assert "PushRole" not in str(may_become_airflow)


@pytest.mark.parametrize(
    ("repository", "named"),
    [("", True), ("octo/retail", True), ("octo@1/retail@22", True), ("octo/*", False), ("octo@1/retail@*", False)],
)
def test_a_repository_is_named_with_or_without_ids_and_never_by_a_pattern(repository, named):
    pattern = load(INFRA / "identity.yaml")["Parameters"]["GitHubRepository"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, repository)) == named
    with nullcontext() if named else pytest.raises(ValueError, match="github_repository"):
        Settings(github_repository=repository)


@pytest.mark.parametrize("name", ["PushRole", "DeployRole"])
def test_github_logs_in_through_the_accounts_provider_which_no_stack_owns(name):
    [trust] = resource("identity", name)["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"]["Federated"]["Sub"].endswith(f":oidc-provider/{GITHUB_ISSUER}")
    types = {item["Type"] for item in load(INFRA / "identity.yaml")["Resources"].values()}
    assert types == {"AWS::IAM::Role"}


def test_log_groups_end_and_are_there_before_their_writers():
    cluster = load(INFRA / "cluster.yaml")
    assert cluster["Resources"]["Cluster"]["DependsOn"] == "ControlPlaneLogs"
    assert cluster["Resources"]["Nodegroup"]["DependsOn"] == "PodLogs"
    assert all(7 <= days <= 30 for days in cluster["Parameters"]["LogRetentionDays"]["AllowedValues"])
    for name in ("ControlPlaneLogs", "PodLogs"):
        assert resource("cluster", name)["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_pod_logs_reach_cloudwatch_as_metrics_too():
    text, values = resource("cluster", "Observability")["ConfigurationValues"]["Sub"]
    for metrics in values["Metrics"]["If"][1:]:
        options = yaml.safe_load(text.replace("${Metrics}", metrics))
        lines = options["containerLogs"]["fluentBit"]["config"]["extraFiles"]["application-log.conf"]
        assert re.search(r"Merge_Log +On", lines)
        assert "Merge_Log_Key" not in lines  # under a key of its own, CloudWatch does not find the metrics
        assert re.search(r"log_group_name +\$\{PodLogs\}", lines)


def test_the_cluster_is_not_open_to_the_stack():
    cidrs = load(INFRA / "cluster.yaml")["Parameters"]["ClusterCidrs"]
    assert not re.fullmatch(cidrs["AllowedPattern"], "0.0.0.0/0")
    assert re.fullmatch(cidrs["AllowedPattern"], "203.0.113.7/32")
    assert re.fullmatch(cidrs["AllowedPattern"], "")


def test_images_are_immutable_and_scanned():
    for name in ("ApiRepository", "JobsRepository", "ControllerRepository"):
        repository = resource("registry", name)
        assert repository["ImageTagMutability"] == "IMMUTABLE"
        assert repository["ImageScanningConfiguration"] == {"ScanOnPush": True}


@pytest.mark.parametrize("name", ["ApiRepository", "JobsRepository"])
def test_signatures_and_sboms_live_as_long_as_their_image(name):
    """They have a subject and no tag: a rule for `untagged` or `any` would expire them or count them as images."""
    [rule] = json.loads(resource("registry", name)["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert rule["selection"] == {
        "tagStatus": "tagged",
        "tagPatternList": ["*"],
        "countType": "imageCountMoreThan",
        "countNumber": 50,
    }


def test_private_subnets_have_no_way_out():
    network = load(INFRA / "network.yaml")["Resources"]
    assert not any(item["Type"] == "AWS::EC2::NatGateway" for item in network.values())
    routes = [item["Properties"] for item in network.values() if item["Type"] == "AWS::EC2::Route"]
    assert [route["RouteTableId"] for route in routes] == [{"Ref": "PublicRoutes"}]


def test_every_resource_is_a_star_only_with_a_reason_beside_it():
    lines = [line for path in TEMPLATES for line in path.read_text().splitlines()]
    stars = [line for line in lines if re.search(r"""Resource: ['"]\*['"]|^\s*- ['"]\*['"]""", line)]
    assert stars
    assert [line for line in stars if not re.search(r"#\s*\S.{9,}", line)] == []


def test_metrics_of_alarms_are_those_that_the_api_emits():
    metrics = MetricWindow()
    metrics.observe("/predict", 200, 0.01)
    document = metrics.take(force=True)
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    emitted = {metric["Name"] for metric in directive["Metrics"]}
    for name in ("ApiErrors", "ApiLatency", "ApiSilent"):
        alarm = resource("observability", name)
        assert alarm["Namespace"] == directive["Namespace"] == METRIC_NAMESPACE
        assert alarm["MetricName"] in emitted
        assert alarm["Dimensions"] == [{"Name": "Service", "Value": document["Service"]}]
        assert directive["Dimensions"] == [["Service"]]


def test_every_alarm_says_what_missing_data_means_and_whom_it_tells():
    alarms = [
        item["Properties"]
        for item in load(INFRA / "observability.yaml")["Resources"].values()
        if item["Type"] == "AWS::CloudWatch::Alarm"
    ]
    assert len(alarms) == 5
    for alarm in alarms:
        assert alarm["TreatMissingData"] in ("missing", "ignore", "notBreaching")  # off at night is no breach
        told = [target for kind in ("AlarmActions", "InsufficientDataActions") for target in alarm.get(kind, [])]
        assert told == [{"Ref": "Alerts"}], alarm["AlarmName"]


def test_nobody_is_told_that_it_is_still_on_before_the_schedule_is_switched_on():
    assert resource("observability", "StillOn")["ActionsEnabled"] == {"If": ["WithBackstop", True, False]}
    conditions = load(INFRA / "observability.yaml")["Conditions"]
    assert conditions["WithBackstop"] == {"Equals": [{"Ref": "BackstopState"}, "ENABLED"]}


def test_dashboard_is_json_and_shows_every_alarm():
    observability = load(INFRA / "observability.yaml")["Resources"]
    text = observability["Dashboard"]["Properties"]["DashboardBody"]["Sub"]
    body = json.loads(text)
    assert {"alarm", "metric", "log"} == {widget["type"] for widget in body["widgets"]}
    shown = next(widget for widget in body["widgets"] if widget["type"] == "alarm")["properties"]["alarms"]
    alarms = {name for name, item in observability.items() if item["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(shown) == {f"${{{name}.Arn}}" for name in alarms}


def test_alerts_go_to_the_topic_that_the_code_publishes_to():
    named = resource("observability", "Alerts")["TopicName"]["Sub"]
    assert named == "mlops-retail-${Environment}-alerts"


def test_topic_is_open_to_aws_services_only_for_this_account():
    policy = resource("observability", "AlertsPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    assert allowed
    for statement in allowed:
        assert set(statement["Principal"]) == {"Service"}
        assert "aws:SourceArn" in str(statement["Condition"])
        assert "${AWS::AccountId}" in str(statement["Condition"])


def test_budget_warns_at_80_and_100_per_cent_of_what_carries_the_tag():
    budget = resource("budget", "Budget")
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": [f"user:Project${settings().tags['Project']}"]}
    warnings = {
        (entry["Notification"]["NotificationType"], entry["Notification"]["Threshold"])
        for entry in budget["NotificationsWithSubscribers"]
    }
    assert {("ACTUAL", 80), ("ACTUAL", 100)} <= warnings


def test_backstop_may_scale_that_one_node_group_and_nothing_else():
    role = resource("budget", "BackstopRole")
    [statement] = statements(role)
    assert statement["Action"] == "eks:UpdateNodegroupConfig"
    assert statement["Resource"]["Sub"].endswith(":nodegroup/${ClusterName}/${NodegroupName}/*")
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"]["StringEquals"]["aws:SourceAccount"] == {"Ref": "AWS::AccountId"}


def test_backstop_ends_the_nodes_of_the_stacks_group_where_the_team_lives():
    schedule = resource("budget", "Backstop")
    assert schedule["ScheduleExpressionTimezone"] == TIMEZONE
    asked = json.loads(schedule["Target"]["Input"]["Sub"])
    assert asked["ScalingConfig"] == {"MinSize": 0, "DesiredSize": 0}  # AWS refuses MaxSize 0


def test_no_key_of_our_own():
    assert not any("AWS::KMS::" in path.read_text() for path in TEMPLATES)
