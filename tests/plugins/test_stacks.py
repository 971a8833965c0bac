"""Every template of infra/ gets the parameters it declares, and CloudFormation's requests are valid."""

import pytest

from include.settings import settings
from retail_mlops import stacks
from retail_mlops.dag_defaults import ROOT
from retail_mlops.errors import RetailError

ADMIN = "arn:aws:iam::123456789012:user/mlops-retail-bootstrap"


@pytest.mark.parametrize("component", stacks.ORDER)
def test_stack_fills_what_its_template_declares(component):
    stack = stacks.stack(component, ADMIN)
    declared = stacks.declared(stack.template)

    assert stack.name == f"mlops-retail-dev-{component}"
    assert {name for name, text in declared.items() if "Default" not in text} <= set(stack.parameters)
    assert set(stack.parameters) <= set(declared)
    assert stack.tags == {**settings().tags, "Component": component}


def test_identity_is_told_who_administers():
    assert stacks.stack("identity", ADMIN).parameters["AdminPrincipalArn"] == ADMIN


def test_template_that_needs_an_unknown_parameter_is_refused(tmp_path, monkeypatch):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "lake.yaml").write_text("Parameters: {Colour: {Type: String}}\nResources: {A: !Ref B}\n")
    monkeypatch.setattr(stacks, "ROOT", tmp_path)

    with pytest.raises(RetailError, match=r"lake\.yaml needs Colour"):
        stacks.stack("lake", ADMIN)


def test_order_names_every_template():
    assert {path.stem for path in (ROOT / "infra").glob("*.yaml")} >= set(stacks.ORDER)


@pytest.mark.parametrize(
    ("caller", "arn"),
    [
        (ADMIN, ADMIN),
        ("arn:aws:sts::123456789012:assumed-role/Admin/me", "arn:aws:iam::123456789012:role/Admin"),
    ],
)
def test_principal_is_the_role_behind_a_session(monkeypatch, caller, arn):
    class Sts:
        conn = type("Client", (), {"get_caller_identity": staticmethod(lambda: {"Arn": caller})})

    monkeypatch.setattr(stacks, "StsHook", lambda **_options: Sts)
    assert stacks.principal("aws_admin") == arn
