"""The stacks for real, and life in their cluster: logins, service accounts, nodes, load balancers, deaths."""

import base64
import contextlib
import json
import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

import boto3
import jwt
import psutil
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.signers import RequestSigner
from cryptography.hazmat.primitives.asymmetric import rsa

from include import templates
from include.settings import CLUSTER_NAME, REGION, settings
from local.aws import credentials
from local.aws.eks.api_client import ApiServer
from local.stack import config
from retail_mlops.common.stack_parameters import values
from tests.local.aws.conftest import Service, eventually

pytestmark = pytest.mark.integration

ORDER = ("network", "lake", "registry", "identity", "cluster", "observability", "budget")


def parameters(service: Service, template: str, **changed: str) -> list[dict[str, str]]:
    """The values of a template's parameters, as CloudFormation takes them."""
    admin = service.client("sts").get_caller_identity()["Arn"]
    given = values(admin) | {"AlertEmail": "team@example.org", "BudgetName": "mlops-retail-dev-monthly"} | changed
    declared = templates.read(template)["Parameters"]
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items() if key in declared]


def change(service: Service, component: str, kind: str, **changed: str) -> tuple[str, str]:
    """Deploy infra/<component>.yaml by change set, as the provision DAG does: status of the stack (or set), and why."""
    cloudformation = service.client("cloudformation")
    template = (config.ROOT / "infra" / f"{component}.yaml").read_text()
    name, change_set = f"mlops-retail-dev-{component}", f"c{time.time_ns()}"
    cloudformation.create_change_set(
        StackName=name,
        ChangeSetName=change_set,
        ChangeSetType=kind,
        TemplateBody=template,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=parameters(service, template, **changed),
        Tags=[{"Key": "Project", "Value": "RetailMLOps"}, {"Key": "Deployed", "Value": "by-stack"}],
    )

    def made() -> Any:
        now = cloudformation.describe_change_set(StackName=name, ChangeSetName=change_set)
        return now["Status"] in ("CREATE_COMPLETE", "FAILED") and now

    answer = eventually(made)
    if answer["Status"] == "FAILED":
        return "FAILED", answer["StatusReason"]
    cloudformation.execute_change_set(StackName=name, ChangeSetName=change_set)
    return stack_end(service, name), ""


def stack_end(service: Service, name: str) -> str:
    def ended() -> str:
        status = service.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return "" if status.endswith("IN_PROGRESS") else status

    return eventually(ended, 120)


@pytest.fixture(scope="module")
def stacks(service: Service) -> Service:
    """The service with all stacks but the optional one."""
    for component in ORDER:
        assert change(service, component, "CREATE") == ("CREATE_COMPLETE", ""), component
    return service


def api(service: Service) -> ApiServer:
    return ApiServer(service.state / "kube" / CLUSTER_NAME)


def token(service: Service, key: dict[str, str] | None = None, cluster: str = CLUSTER_NAME) -> str:
    """What `aws eks get-token` prints, of these keys or the bootstrap user."""
    client = service.client_of("sts", key) if key else service.client("sts")
    signer = RequestSigner(
        client.meta.service_model.service_id,
        REGION,
        "sts",
        "v4",
        client._request_signer._credentials,
        client.meta.events,
    )
    url = signer.generate_presigned_url(
        {
            "method": "GET",
            "url": f"{service.stack.aws_url}/?Action=GetCallerIdentity&Version=2011-06-15",
            "body": {},
            "headers": {"x-k8s-aws-id": cluster},
            "context": {},
        },
        region_name=REGION,
        expires_in=60,
        operation_name="",
    )
    return "k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def status_with(service: Service, bearer: str, path: str) -> int:
    """The status that the cluster's API gives to a bearer, its CA taken from DescribeCluster."""
    cluster = service.client("eks").describe_cluster(name=CLUSTER_NAME)["cluster"]
    authority = base64.b64decode(cluster["certificateAuthority"]["data"]).decode()
    request = urllib.request.Request(cluster["endpoint"] + path, headers={"Authorization": f"Bearer {bearer}"})
    try:
        with urllib.request.urlopen(request, context=ssl.create_default_context(cadata=authority)) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


# --- the stacks ---
@pytest.mark.parametrize("component", ORDER)
def test_a_stack_without_changes_is_not_updated(stacks: Service, component: str) -> None:
    status, why = change(stacks, component, "UPDATE")
    assert status == "FAILED"
    assert "didn't contain changes" in why


def test_resources_carry_template_and_stack_tags(stacks: Service) -> None:
    eks = stacks.client("eks")
    addon = eks.describe_addon(clusterName=CLUSTER_NAME, addonName="coredns")["addon"]
    assert (addon["tags"]["Component"], addon["tags"]["Deployed"]) == ("cluster", "by-stack")
    [provider] = stacks.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
    tags = stacks.client("iam").get_open_id_connect_provider(OpenIDConnectProviderArn=provider["Arn"])["Tags"]
    assert {"Key": "Deployed", "Value": "by-stack"} in tags


def test_a_second_cluster_is_refused(stacks: Service) -> None:
    create = stacks.client("eks").create_cluster
    role = "arn:aws:iam::123456789012:role/mlops-retail-dev-cluster"
    refusal = code_of(create, name="second", roleArn=role, resourcesVpcConfig={"subnetIds": ["s"]})
    assert refusal == "ResourceLimitExceededException"


# --- logins ---
def test_an_access_entry_lets_the_administrator_in(stacks: Service) -> None:
    assert eventually(lambda: status_with(stacks, token(stacks), "/api/v1/nodes") == 200)


def test_an_access_entry_for_one_namespace_gives_no_more(stacks: Service) -> None:
    role = "arn:aws:iam::123456789012:role/mlops-retail-dev-airflow"
    key = stacks.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mlops"}}
    api(stacks).call("PATCH", "/api/v1/namespaces/mlops", space, "apply", fieldManager="test")
    path = "/apis/apps/v1/namespaces/{}/deployments"
    assert eventually(lambda: status_with(stacks, token(stacks, key), path.format("mlops")) == 200)
    assert status_with(stacks, token(stacks, key), path.format("default")) == 403


def test_nobody_else_is_let_in(stacks: Service, nobody: dict[str, str]) -> None:
    assert status_with(stacks, token(stacks, nobody), "/api/v1/nodes") == 401


@pytest.mark.parametrize("wrong", ["secret", "cluster", "garbage"])
def test_a_wrong_token_is_refused(stacks: Service, nobody: dict[str, str], wrong: str) -> None:
    bearer = {
        "secret": token(stacks, nobody | {"SecretAccessKey": "guessed"}),
        "cluster": token(stacks, cluster="another"),
        "garbage": "k8s-aws-v1.aGVsbG8",
    }[wrong]
    assert status_with(stacks, bearer, "/api/v1/nodes") == 401


# --- roles for service accounts ---
def account_token(service: Service, account: str, audience: str = "sts.amazonaws.com") -> str:
    about = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
    for path, thing in (
        ("/api/v1/namespaces/mlops", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mlops"}}),
        (f"/api/v1/namespaces/mlops/serviceaccounts/{account}", about),
    ):
        api(service).call("PATCH", path, thing, "apply", fieldManager="test")
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [audience], "expirationSeconds": 3600},
    }
    issued = api(service).call("POST", f"/api/v1/namespaces/mlops/serviceaccounts/{account}/token", request)
    return issued["status"]["token"]


def assume(service: Service, bearer: str) -> str:
    sts = boto3.client("sts", REGION, endpoint_url=service.stack.aws_url, config=Config(signature_version=UNSIGNED))
    return sts.assume_role_with_web_identity(
        RoleArn="arn:aws:iam::123456789012:role/mlops-retail-dev-api", RoleSessionName="pod", WebIdentityToken=bearer
    )["AssumedRoleUser"]["Arn"]


def test_the_service_account_of_the_api_becomes_its_role(stacks: Service) -> None:
    assert assume(stacks, account_token(stacks, "retail-api-sa")).endswith("assumed-role/mlops-retail-dev-api/pod")


def forged(service: Service, **claims: Any) -> str:
    """A token as the genuine one, with these claims, signed by another key under the genuine key's name."""
    genuine = account_token(service, "retail-api-sa")
    body = jwt.decode(genuine, options={"verify_signature": False}) | claims
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(body, key, algorithm="RS256", headers={"kid": jwt.get_unverified_header(genuine)["kid"]})


@pytest.mark.parametrize(
    ("bearer", "refusal"),
    [
        (lambda service: account_token(service, "another"), "AccessDenied"),
        (lambda service: account_token(service, "retail-api-sa", "another-audience"), "InvalidIdentityToken"),
        (forged, "InvalidIdentityToken"),
        (lambda service: forged(service, iss="http://127.0.0.1:1/oidc/id/NONE"), "InvalidIdentityToken"),
    ],
    ids=["another account", "another audience", "forged", "another issuer"],
)
def test_other_tokens_are_refused(stacks: Service, bearer: Any, refusal: str) -> None:
    assert code_of(lambda: assume(stacks, bearer(stacks))) == refusal


def test_the_key_set_is_the_control_planes(stacks: Service) -> None:
    issuer = stacks.client("eks").describe_cluster(name=CLUSTER_NAME)["cluster"]["identity"]["oidc"]["issuer"]
    with urllib.request.urlopen(f"{issuer}/keys") as reply:
        keys = json.loads(reply.read())["keys"]
    genuine = account_token(stacks, "retail-api-sa")
    assert [key["kid"] for key in keys] == [jwt.get_unverified_header(genuine)["kid"]]


# --- nodes ---
def is_ready(node: dict[str, Any]) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def ready_nodes(service: Service) -> list[str]:
    return [node["metadata"]["name"] for node in api(service).items("/api/v1/nodes") if is_ready(node)]


def running_instances(service: Service) -> dict[str, dict[str, Any]]:
    filters = [
        {"Name": "tag:eks:cluster-name", "Values": [CLUSTER_NAME]},
        {"Name": "tag:eks:nodegroup-name", "Values": [settings().nodegroup]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    reservations = service.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return {instance["InstanceId"]: instance for group in reservations for instance in group["Instances"]}


def resize(service: Service, size: int) -> dict[str, Any]:
    """The update when it has ended."""
    eks, names = service.client("eks"), {"clusterName": CLUSTER_NAME, "nodegroupName": settings().nodegroup}
    update = eks.update_nodegroup_config(**names, scalingConfig={"desiredSize": size})["update"]["id"]

    def ended() -> Any:
        now = eks.describe_update(name=CLUSTER_NAME, nodegroupName=settings().nodegroup, updateId=update)["update"]
        return now["status"] != "InProgress" and now

    return eventually(ended, 60)


def test_nodes_and_instances_follow_the_size(stacks: Service) -> None:
    instances = running_instances(stacks)
    assert sorted(ready_nodes(stacks)) == sorted(instances)
    assert len(instances) == 2
    for instance in instances.values():
        tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
        assert (instance["InstanceType"], instance["InstanceLifecycle"]) == ("t3.medium", "spot")
        assert (tags["Project"], tags["Component"]) == ("RetailMLOps", "cluster")
    for size in (0, 3, 2):
        assert resize(stacks, size)["status"] == "Successful"
        assert len(ready_nodes(stacks)) == len(running_instances(stacks)) == size


def test_the_backstop_ends_the_nodes_by_itself_as_its_role(stacks: Service) -> None:
    scheduler = stacks.client("scheduler")
    where = {"Name": "mlops-retail-dev-backstop", "GroupName": "mlops-retail-dev"}
    schedule = scheduler.get_schedule(**where)
    assert len(running_instances(stacks)) == 2
    members = ("FlexibleTimeWindow", "ScheduleExpressionTimezone", "Target")
    soon = {name: schedule[name] for name in members} | {"ScheduleExpression": "cron(* * * * ? *)"}
    scheduler.update_schedule(**where, **soon, State="ENABLED")
    try:
        eventually(lambda: running_instances(stacks) == {}, 90)
    finally:
        scheduler.update_schedule(**where, **soon, State="DISABLED")
    group = stacks.client("eks").describe_nodegroup(clusterName=CLUSTER_NAME, nodegroupName=settings().nodegroup)[
        "nodegroup"
    ]
    assert group["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 10}
    assert resize(stacks, 2)["status"] == "Successful"


def test_a_size_out_of_bounds_is_refused(stacks: Service) -> None:
    update = stacks.client("eks").update_nodegroup_config
    names = {"clusterName": CLUSTER_NAME, "nodegroupName": settings().nodegroup}
    assert code_of(update, **names, scalingConfig={"desiredSize": 11}) == "InvalidParameterException"
    nothing = {"minSize": 0, "desiredSize": 0, "maxSize": 0}
    unchecked = credentials.session(stacks.stack).client("eks", config=Config(parameter_validation=False))
    assert code_of(unchecked.update_nodegroup_config, **names, scalingConfig=nothing) == "InvalidParameterException"


def test_a_group_that_changes_takes_no_other_change(stacks: Service) -> None:
    eks, names = stacks.client("eks"), {"clusterName": CLUSTER_NAME, "nodegroupName": settings().nodegroup}
    eks.update_nodegroup_config(**names, scalingConfig={"desiredSize": 3})
    assert code_of(eks.update_nodegroup_config, **names, scalingConfig={"desiredSize": 1}) == "ResourceInUseException"
    eventually(lambda: eks.describe_nodegroup(**names)["nodegroup"]["status"] == "ACTIVE", 60)
    assert resize(stacks, 2)["status"] == "Successful"


def test_other_instance_types_bring_a_new_group_before_the_old_one_goes(
    stacks: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    eks, old = stacks.client("eks"), settings().nodegroup
    monkeypatch.setenv("RETAIL_NODE_INSTANCE_TYPES", "t3.large")
    settings.cache_clear()
    new = settings().nodegroup
    try:
        assert change(stacks, "cluster", "UPDATE") == ("UPDATE_COMPLETE", "")
        assert {instance["InstanceType"] for instance in running_instances(stacks).values()} == {"t3.large"}
        eventually(lambda: eks.list_nodegroups(clusterName=CLUSTER_NAME)["nodegroups"] == [new], 60)
        group = eks.describe_nodegroup(clusterName=CLUSTER_NAME, nodegroupName=new)["nodegroup"]
        assert (group["status"], group["capacityType"]) == ("ACTIVE", "SPOT")
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert change(stacks, "cluster", "UPDATE") == ("UPDATE_COMPLETE", "")
    eventually(lambda: eks.list_nodegroups(clusterName=CLUSTER_NAME)["nodegroups"] == [old], 60)


def test_a_cluster_with_node_groups_is_not_deleted(stacks: Service) -> None:
    assert code_of(stacks.client("eks").delete_cluster, name=CLUSTER_NAME) == "ResourceInUseException"


def test_a_load_balancer_record_comes_and_goes_with_its_service(stacks: Service) -> None:
    service_object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "front"},
        "spec": {"type": "LoadBalancer", "selector": {"app": "none"}, "ports": [{"port": config.any_free_port()}]},
    }
    path = "/api/v1/namespaces/default/services"
    api(stacks).call("POST", path, service_object)
    elb = stacks.client("elbv2")
    [record] = eventually(lambda: elb.describe_load_balancers()["LoadBalancers"])
    [described] = elb.describe_tags(ResourceArns=[record["LoadBalancerArn"]])["TagDescriptions"]
    assert {"Key": f"kubernetes.io/cluster/{CLUSTER_NAME}", "Value": "owned"} in described["Tags"]
    assert record["Type"] == "network"
    api(stacks).call("DELETE", f"{path}/front")
    eventually(lambda: not elb.describe_load_balancers()["LoadBalancers"])


# --- deaths ---
def processes_named(service: Service, name: str) -> list[psutil.Process]:
    matching = []
    for pid in service.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if name in " ".join(process.cmdline()[:4]):
                matching.append(process)
    return matching


def test_a_control_plane_of_which_a_process_died_is_restarted(stacks: Service) -> None:
    [scheduler] = processes_named(stacks, "kube-scheduler")
    scheduler.kill()
    eventually(lambda: {process.pid for process in processes_named(stacks, "kube-scheduler")} - {scheduler.pid}, 60)
    eventually(lambda: len(ready_nodes(stacks)) == 2, 60)


def test_a_dead_agent_is_started_again(stacks: Service) -> None:
    [agent] = processes_named(stacks, "local.aws.eks.node_agent")
    agent.kill()
    eventually(lambda: {process.pid for process in processes_named(stacks, "local.aws.eks.node_agent")} - {agent.pid})
    eventually(lambda: len(ready_nodes(stacks)) == 2, 60)


def test_a_cluster_comes_back_after_an_end_and_after_a_kill(stacks: Service) -> None:
    thing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}
    api(stacks).call("POST", "/api/v1/namespaces/default/configmaps", thing)
    before = sorted(ready_nodes(stacks))
    for how in (signal.SIGTERM, signal.SIGKILL):
        stacks.end(how)
        if how is signal.SIGTERM:
            assert stacks.children() == []
        stacks.start()
        assert api(stacks).call("GET", "/api/v1/namespaces/default/configmaps/kept")["metadata"]["name"] == "kept"
        eventually(lambda: sorted(ready_nodes(stacks)) == before, 60)
        assert sorted(running_instances(stacks)) == before
        assert len(processes_named(stacks, "kube-apiserver")) == 1
        eventually(lambda: len(processes_named(stacks, "local.aws.eks.node_agent")) == 1)
    assert eventually(lambda: status_with(stacks, token(stacks), "/api/v1/nodes") == 200)


def test_deleting_the_stack_leaves_no_process_and_no_record(stacks: Service) -> None:
    link = stacks.state / "kubeconfig"
    assert link.resolve().is_file()
    stacks.client("cloudformation").delete_stack(StackName="mlops-retail-dev-cluster")

    def gone() -> bool:
        return stacks.client("eks").list_clusters()["clusters"] == []

    eventually(gone, 60)
    assert not os.path.lexists(link)
    assert not (stacks.state / "kube" / CLUSTER_NAME).exists()
    assert running_instances(stacks) == {}
    eventually(lambda: stacks.children() == [], 10)
    listed = stacks.client("resourcegroupstaggingapi").get_resources(
        TagFilters=[{"Key": "Component", "Values": ["cluster"]}]
    )["ResourceTagMappingList"]
    assert listed == []
    assert stacks.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"] == []


def test_a_stack_that_a_kill_interrupted_can_be_created_again(stacks: Service) -> None:
    cloudformation = stacks.client("cloudformation")
    template = (config.ROOT / "infra" / "cluster.yaml").read_text()
    cloudformation.create_stack(
        StackName="cut",
        TemplateBody=template,
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=parameters(stacks, template, NodeCount="1"),
    )
    saved = stacks.state / "aws" / "ministack"  # a file a service, written one after the other
    eventually(lambda: '"cut"' in (saved / "cloudformation.json").read_text())
    eventually(lambda: '"CREATING"' in (saved / "eks.json").read_text())
    stacks.end(signal.SIGKILL)
    stacks.start()
    stack = cloudformation.describe_stacks(StackName="cut")["Stacks"][0]
    assert (stack["StackStatus"], stack["StackStatusReason"]) == (
        "CREATE_FAILED",
        "The AWS emulation ended while the stack changed",
    )
    cloudformation.delete_stack(StackName="cut")
    assert stack_end(stacks, stack["StackId"]) == "DELETE_COMPLETE"
    assert stacks.client("eks").list_clusters()["clusters"] == []
    assert stacks.children() == []


def test_a_cluster_is_not_deleted_while_it_is_created(stacks: Service) -> None:
    eks = stacks.client("eks")
    role = stacks.client("iam").get_role(RoleName="mlops-retail-dev-job")["Role"]["Arn"]
    eks.create_cluster(name="brief", roleArn=role, resourcesVpcConfig={"subnetIds": ["subnet-1"]})
    assert code_of(eks.delete_cluster, name="brief") == "ResourceInUseException"
    eventually(lambda: eks.describe_cluster(name="brief")["cluster"]["status"] == "ACTIVE", 60)
    eks.delete_cluster(name="brief")
    assert eks.list_clusters()["clusters"] == []
    assert stacks.children() == []
