"""Every policy document of the templates, as AWS will get it, under parliament."""

import json
import re
from pathlib import Path
from typing import Any

import parliament
import pytest

from include.settings import REGION
from tests.infra.test_templates import TEMPLATES, load

ACCOUNT = "123456789012"
VALUES = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "Environment": "dev",
    "ClusterName": "mlops-retail-cluster",
    "NodegroupName": "general",
    "Cluster.ClusterSecurityGroupId": "sg-0123456789abcdef0",
    "Vpc": "vpc-0123456789abcdef0",
    "GitHubRepository": "octo/retail",
    "AdminPrincipalArn": f"arn:aws:iam::{ACCOUNT}:user/me",
    "Issuer": f"oidc.eks.{REGION}.amazonaws.com/id/1",
    "OidcProvider": f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.eks.{REGION}.amazonaws.com/id/1",
    "Bucket": "mlops-retail-bucket",
    "Bucket.Arn": "arn:aws:s3:::mlops-retail-bucket",
    "BucketArn": "arn:aws:s3:::mlops-retail-bucket",
    "Alerts": f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts",
    "DeployRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/deploy",
    "JobRole.Arn": f"arn:aws:iam::{ACCOUNT}:role/job",
    "ApiRepositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/api",
    "JobsRepositoryArn": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/jobs",
}
"""What the names in the templates stand for; an unknown one is a KeyError here, so that no policy goes unseen."""
NOT_KNOWN = re.compile(
    r"UNKNOWN_FEDERATION_SOURCE: .*oidc-provider/"
    r"|UNKNOWN_CONDITION_FOR_ACTION: .*:(aud|sub|ref) for action sts:"
    r"|UNKNOWN_CONDITION_FOR_ACTION: .* elasticloadbalancing:CreateAction for action elasticloadbalancing:AddTags"
    r"|RESOURCE_MISMATCH: .{13}ec2:CreateSecurityGroup', 'required_format': 'arn:\S+:security-group/\*'\}\]"
)
"""What parliament says of every OpenID Connect provider, of a condition that AWS documents (service authorization
reference of ELB v2), and of a statement that allows a new group's VPC alone: IAM asks for the VPC and for the group,
and each may have a statement of its own. test_templates.py checks all of these."""


def resolve(value: Any) -> Any:
    """The value with CloudFormation's functions done."""
    if isinstance(value, list):
        return [resolve(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(function, argument)] = value.items()
        if function in ("Ref", "GetAtt"):
            return VALUES[argument]
        if function in ("Sub", "Fn::Sub"):
            text = argument[0] if isinstance(argument, list) else argument
            return re.sub(r"\$\{([^}]+)\}", lambda found: VALUES[found[1]], text)
        if function in ("If", "Fn::If"):
            return resolve(argument[1])
        if function == "ImportValue":
            return VALUES[argument["Fn::Sub"].rpartition("-")[2]]
    return {name: resolve(inner) for name, inner in value.items()}


def documents(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(name, policy) of each document in a template: what a role may do, who may be it, who may use a resource."""
    found = []
    for name, item in load(path)["Resources"].items():
        properties = item.get("Properties", {})
        for policy in properties.get("Policies", []):
            found.append((f"{name}.{policy['PolicyName']}", policy["PolicyDocument"]))
        for member in ("AssumeRolePolicyDocument", "PolicyDocument"):
            if member in properties:
                found.append((f"{name}.{member}", properties[member]))
    resolved = [(name, resolve(document)) for name, document in found]
    return [(name, json.loads(text) if isinstance(text, str) else text) for name, text in resolved]


POLICIES = [(f"{path.stem}.{name}", document) for path in TEMPLATES for name, document in documents(path)]


def findings(document: dict[str, Any]) -> list[str]:
    """What parliament has against it."""
    statements = document["Statement"]
    checked = document
    if all("Resource" not in statement for statement in statements):  # a trust policy: the role itself is the resource
        checked = document | {"Statement": [one | {"Resource": VALUES["JobRole.Arn"]} for one in statements]}
    found = parliament.analyze_policy_string(json.dumps(checked)).findings
    said = [f"{one.issue}: {one.detail}" for one in found]
    return [text for text in said if not NOT_KNOWN.match(text)]


def test_policies_of_all_kinds_are_seen():
    kinds = {name.rpartition(".")[2] for name, _ in POLICIES}
    assert {"lake", "cluster", "AssumeRolePolicyDocument", "PolicyDocument"} <= kinds
    assert len(POLICIES) > 15


@pytest.mark.parametrize(("name", "document"), POLICIES, ids=[name for name, _ in POLICIES])
def test_parliament_finds_nothing(name, document):
    assert findings(document) == []


@pytest.mark.parametrize(
    ("action", "resource", "issue"),
    [
        ("s3:GetObjekt", "*", "UNKNOWN_ACTION"),
        ("s3:GetObject", f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue", "RESOURCE_MISMATCH"),
        ("s3:ListBucket", "arn:aws:s3:::bucket/key", "RESOURCE_MISMATCH"),
    ],
)
def test_a_wrong_policy_is_found(action, resource, issue):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    assert any(found.startswith(issue) for found in findings(document))
