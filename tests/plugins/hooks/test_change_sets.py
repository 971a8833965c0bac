"""What people are shown of a change set, and which changes they are asked about."""

import pytest

from retail_mlops.common import stacks
from retail_mlops.hooks.change_sets import PROTECTED_TYPES, Change, additions, imports, table
from tests.plugins.text import squeezed

ADMIN = "arn:aws:iam::123456789012:user/bootstrap"


def resource_change(**more):
    resource = {"Action": "Modify", "LogicalResourceId": "Bucket", "ResourceType": "AWS::S3::Bucket"}
    return {"Type": "Resource", "ResourceChange": resource | more}


def test_change_names_the_properties_that_cause_it():
    details = [
        {"Target": {"Attribute": "Properties", "Name": "BucketName", "RequiresRecreation": "Always"}},
        {"Target": {"Attribute": "Tags"}},
        {"Target": {"Attribute": "Properties", "Name": "BucketName"}},
    ]
    change = Change.from_description(
        resource_change(Replacement="True", PolicyAction="ReplaceAndRetain", Details=details)
    )
    assert change == Change("Modify", "Bucket", "AWS::S3::Bucket", "True", "ReplaceAndRetain", ("BucketName", "Tags"))


@pytest.mark.parametrize("kind", sorted(PROTECTED_TYPES))
@pytest.mark.parametrize(
    "more", [{"Replacement": "True"}, {"Replacement": "Conditional"}, {"Action": "Remove"}, {"Action": "Dynamic"}]
)
def test_person_is_asked_before_what_cannot_be_made_again_goes(kind, more):
    assert Change.from_description(resource_change(ResourceType=kind, **more)).needs_approval


@pytest.mark.parametrize(("cause", "asked"), [("Version", True), ("Logging", False)])
def test_person_is_asked_before_the_cluster_is_upgraded(cause, asked):
    details = [{"Target": {"Attribute": "Properties", "Name": cause}}]
    change = resource_change(ResourceType="AWS::EKS::Cluster", Replacement="False", Details=details)
    assert Change.from_description(change).needs_approval is asked


@pytest.mark.parametrize(
    "more",
    [
        {"Replacement": "False"},
        {"Action": "Add"},
        {"Action": "Import"},
        {"ResourceType": "AWS::IAM::Role", "Replacement": "True"},
    ],
)
def test_nobody_is_asked_about_anything_else(more):
    assert not Change.from_description(resource_change(**more)).needs_approval


def test_table_is_markdown_with_aligned_columns():
    lines = table([Change("Add", "Vpc", "AWS::EC2::VPC"), Change("Modify", "B", "T", "True", "", ("X", "Y"))]).split(
        "\n"
    )
    assert len({len(line) for line in lines}) == 1
    assert squeezed(lines[2]).startswith("| Add | Vpc | AWS::EC2::VPC |")
    assert "X, Y" in lines[3]


def test_imports_of_the_templates_are_exports_with_the_environments_name():
    cluster = stacks.stack_of("cluster", ADMIN)
    found = imports(cluster.template, cluster.parameters)
    assert "mlops-retail-dev-AirflowRoleArn" in found
    assert not [name for name in found if "$" in name]
    assert imports(stacks.stack_of("network", ADMIN).template, {}) == set()


def test_long_and_short_form_of_an_import_are_seen():
    text = "Resources: {A: {Type: T, Properties: {X: {'Fn::ImportValue': one}, Y: [!ImportValue two]}}}"
    assert imports(text, {}) == {"one", "two"}


def test_additions_are_all_resources_of_a_template():
    text = "Resources: {A: {Type: T}, B: {Type: U, Condition: IfB, Properties: {X: !Sub '${A}'}}}"
    assert additions(text) == [Change("Add", "A", "T"), Change("Add", "B", "U", causes=("if IfB",))]
