"""What counts as an environment's: tag, name, VPC, cluster; and what is somebody else's."""

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from include.costs import Kind
from retail_mlops.common.ownership import cluster_of, environment_in
from retail_mlops.teardown.inventory import (
    Inventory,
    Resource,
    Row,
    Scope,
    resource_type,
    table,
    take_inventory,
)
from retail_mlops.teardown.listings import _kms
from retail_mlops.teardown.search import InventoryHook
from tests.plugins.text import squeezed

ARN = "arn:aws:{}:ap-southeast-1:123456789012:{}"
OURS = {"Project": "RetailMLOps", "Environment": "dev"}
THEIRS = OURS | {"Environment": "prod"}


def thing(service, rest, name=None, **more):
    return Resource(ARN.format(service, rest), name or rest.split("/", 1)[-1], **more)


def why(resource, *others):
    return Scope.from_resources("dev", [resource, *others]).why(resource)


STACK_OF_PROD = thing("cloudformation", "stack/mlops-retail-prod-network/1", "mlops-retail-prod-network")
CLUSTER_OF_PROD = thing("cloudformation", "stack/mlops-retail-prod-cluster/1", "mlops-retail-prod-cluster")


@pytest.mark.parametrize(
    "name",
    [
        "mlops-retail-dev-job",
        "/retail-mlops/dev/api",
        "mlops-retail-prediction-dev-123456789012",
        "mlops-retail-audit-dev-123456789012",
        "mlops-retail-dev/api-errors",
        "mlops-retail-dev",
    ],
)
def test_name_of_the_environment_counts(name):
    assert why(thing("iam", f"role/{name}", name)) == "is named after the environment"


@pytest.mark.parametrize("name", ["mlops-retail-devil-job", "/retail-mlops/prod/api", "mlops-retail-audit-prod-1"])
def test_name_of_another_environment_that_is_there_does_not_count(name):
    devil = thing("cloudformation", "stack/mlops-retail-devil-lake/1", "mlops-retail-devil-lake")
    assert why(thing("iam", f"role/{name}", name), STACK_OF_PROD, devil) == ""


@pytest.mark.parametrize("name", ["mlops-retail-leftover", "/retail-mlops/old/api", "mlops-retail-gone-alarm"])
def test_project_name_that_no_other_environment_has_counts(name):
    assert "no such other environment" in why(thing("iam", f"role/{name}", name))


@pytest.mark.parametrize("name", ["orders", "my-mlops-retail-dev-copy", "retail", "/aws/lambda/retail-mlops"])
def test_what_does_not_look_like_ours_is_left_alone(name):
    assert why(thing("iam", f"role/{name}", name)) == ""


def test_tag_is_stronger_than_name():
    assert why(thing("iam", "role/x", "mlops-retail-dev-job", tags=THEIRS)) == ""
    assert why(thing("iam", "role/x", "orders", tags=OURS)) == "tagged Environment=dev"


def test_tag_of_another_project_says_nothing():
    assert why(thing("iam", "role/x", "orders", tags={"Project": "Other", "Environment": "dev"})) == ""


def test_tag_of_the_project_alone_counts():
    assert "without an environment" in why(thing("iam", "role/x", "orders", tags={"Project": "RetailMLOps"}))


def test_everything_in_our_vpc_counts():
    vpc = thing("ec2", "vpc/vpc-1", tags=OURS, vpc="vpc-1")
    interface = thing("ec2", "network-interface/eni-1", vpc="vpc-1")
    assert why(interface, vpc) == "lies in vpc-1"
    assert why(interface, thing("ec2", "vpc/vpc-1", tags=THEIRS, vpc="vpc-1")) == ""


@pytest.mark.parametrize(
    "tags", [{"kubernetes.io/cluster/mlops-retail-cluster": "owned"}, {"eks:cluster-name": "mlops-retail-cluster"}]
)
def test_what_the_cluster_made_counts_unless_the_cluster_is_anothers(tags):
    balancer = thing("elasticloadbalancing", "loadbalancer/net/a1/1", "a1", tags=tags)
    assert why(balancer) == "made for cluster mlops-retail-cluster"
    assert why(balancer, CLUSTER_OF_PROD) == ""
    assert why(balancer, thing("eks", "cluster/mlops-retail-cluster", "mlops-retail-cluster", tags=THEIRS)) == ""


def test_cluster_is_named_by_its_tags():
    assert cluster_of({"kubernetes.io/cluster/other": "owned"}) == "other"
    assert cluster_of({"Name": "x"}) == ""


@pytest.mark.parametrize(
    "name",
    [
        "mlops/retail-api",
        "retail-price-sensitivity-models",
        "retail-price-sensitivity-models/3",
        "mlops-retail-cluster",
        "mlops-retail-cluster/general",
        "/aws/eks/mlops-retail-cluster/cluster",
        "/aws/containerinsights/mlops-retail-cluster/application",
    ],
)
def test_names_without_an_environment_are_ours_unless_another_environment_has_the_stack(name):
    component = "registry" if "cluster" not in name else "cluster"
    stack = thing("cloudformation", f"stack/mlops-retail-prod-{component}/1", f"mlops-retail-prod-{component}")
    one = thing("ecr", f"repository/{name}", name)
    assert why(one) == "has a name that only this project gives"
    assert why(one, stack) == ""
    assert why(one, STACK_OF_PROD) != ""
    tagged = thing("ecr", f"repository/{name}", name, tags=OURS)
    assert why(tagged, stack) == "tagged Environment=dev"


def test_untagged_package_of_a_group_that_is_tagged_anothers_is_theirs():
    group = thing("sagemaker", "model-package-group/g", "retail-price-sensitivity-models", tags=THEIRS)
    assert why(thing("sagemaker", "model-package/g/1", "retail-price-sensitivity-models/1"), group) == ""


def test_split_prices_and_sorts_what_is_left_and_keeps_what_is_named():
    cheap = thing("logs", "log-group:/retail-mlops/dev/api", "/retail-mlops/dev/api")
    dear = thing("eks", "cluster/c", "mlops-retail-cluster", kind=Kind.EKS_CLUSTER)
    unknown = thing("ec2", "instance/i", tags=OURS, kind=Kind.EC2_INSTANCE, detail="z9.mega")
    lake = thing("cloudformation", "stack/mlops-retail-dev-lake/1", "mlops-retail-dev-lake")
    everything = [cheap, dear, unknown, lake, cheap, thing("iam", "role/other", "other")]

    found = take_inventory(everything, Scope.from_resources("dev", everything), {lake.arn: "keep_data"})

    assert [row.arn for row in found.left] == [unknown.arn, dear.arn, cheap.arn]
    assert [(row.arn, row.why) for row in found.kept] == [(lake.arn, "keep_data")]
    assert found.monthly == pytest.approx(dear.monthly)
    assert "1 without a known price" in found.cost


def test_table_names_arn_reason_and_cost_and_counts_what_it_does_not_show():
    rows = [Row(f"arn:{number}", "tagged", 1.5, "idle") for number in range(4)] + [Row("arn:x", "named", None)]
    text = squeezed(table(rows, limit=3))
    assert "| arn:0 | tagged; idle | 1.50 |" in text
    assert "| and 2 more | | 1.50 |" in text
    assert "| arn:x | named | ? |" in squeezed(table(rows))


def test_nothing_left_costs_nothing():
    assert Inventory(()).monthly == 0


@pytest.mark.parametrize(
    ("arn", "sort"),
    [
        ("arn:aws:s3:::bucket", "s3"),
        (ARN.format("sns", "topic"), "sns"),
        (ARN.format("ec2", "vpc/vpc-1"), "ec2:vpc"),
        (ARN.format("logs", "log-group:/a/b"), "logs:log-group"),
        (ARN.format("cloudwatch", "alarm:a"), "cloudwatch:alarm"),
    ],
)
def test_sort_of_an_arn(arn, sort):
    assert resource_type(arn) == sort


def test_names_of_another_form_have_no_environment():
    assert environment_in("mlops/retail-api") == ""
    assert environment_in("/aws/sagemaker/TrainingJobs") == ""


# --- keys: nobody may read every key of an account, an administrator neither ---
@pytest.fixture
def keys():
    """One key that cannot be described, for the reason that the test gives, and one that is ours."""
    client = boto3.client("kms", region_name="ap-southeast-1", aws_access_key_id="x", aws_secret_access_key="y")
    hook, arn = InventoryHook("aws_admin"), ARN.format("kms", "key/ours")
    hook.client = lambda _service: client
    with Stubber(client) as stub:

        def listed(refusal):
            stub.add_response("list_keys", {"Keys": [{"KeyId": "theirs"}, {"KeyId": "ours"}]})
            stub.add_client_error("describe_key", refusal)
            about = {"KeyId": "ours", "Arn": arn, "KeyManager": "CUSTOMER", "KeyState": "Enabled"}
            stub.add_response("describe_key", {"KeyMetadata": about})
            stub.add_response("list_resource_tags", {"Tags": []})
            return [key.arn for key in _kms(hook)]

        yield listed


def test_key_that_may_not_be_read_is_passed_over(keys):
    assert keys("AccessDeniedException") == [ARN.format("kms", "key/ours")]


def test_key_that_fails_otherwise_is_no_empty_inventory(keys):
    with pytest.raises(ClientError, match="KMSInternalException"):
        keys("KMSInternalException")
