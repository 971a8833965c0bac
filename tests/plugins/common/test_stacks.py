"""Every template of infra/ gets the parameters it declares, and CloudFormation's requests are valid."""

import re

import pytest

from include import templates
from include.settings import settings
from retail_mlops.common import stacks
from retail_mlops.common.dag_defaults import ROOT
from retail_mlops.common.errors import RetailError
from retail_mlops.common.stack_parameters import values

EVERY = (*stacks.ORDER, stacks.AUDIT)
ADMIN = "arn:aws:iam::123456789012:user/mlops-retail-bootstrap"


@pytest.mark.parametrize("component", EVERY)
def test_stack_fills_what_its_template_declares(component):
    stack = stacks.stack_of(component, ADMIN)
    declared = stacks.declared(stack.template)

    assert stack.name == f"mlops-retail-dev-{component}"
    assert set(stack.parameters) == set(declared)
    assert not any("Default" in text for text in declared.values()), "a setting says it"
    assert stack.tags == {**settings().tags, "Component": component}


def test_every_value_is_a_parameter_of_some_template():
    declared = {name for component in EVERY for name in stacks.stack_of(component, ADMIN).parameters}
    assert declared == set(values(ADMIN))


def test_identity_is_told_who_administers():
    assert stacks.stack_of("identity", ADMIN).parameters["AdminPrincipalArn"] == ADMIN


def test_template_that_needs_an_unknown_parameter_is_refused(tmp_path, monkeypatch):
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "lake.yaml").write_text("Parameters: {Colour: {Type: String}}\nResources: {A: !Ref B}\n")
    monkeypatch.setattr(stacks, "ROOT", tmp_path)

    with pytest.raises(RetailError, match=r"lake\.yaml needs Colour"):
        stacks.stack_of("lake", ADMIN)


def test_order_names_every_template_but_the_optional_one():
    assert {path.stem for path in (ROOT / "infra").glob("*.yaml")} == set(EVERY)


@pytest.mark.parametrize(("wanted", "last"), [("false", "budget"), ("true", "audit")])
def test_audit_is_there_only_when_the_settings_say_so(monkeypatch, wanted, last):
    monkeypatch.setenv("RETAIL_AUDIT", wanted)
    settings.cache_clear()
    try:
        assert stacks.components()[-1] == last
    finally:
        settings.cache_clear()


def test_what_a_stack_imports_an_earlier_one_exports_and_no_output_is_for_nobody():
    exported, imported, outputs = set(), set(), set()
    for component in EVERY:
        text = (ROOT / "infra" / f"{component}.yaml").read_text()
        wanted = set(re.findall(r'!ImportValue {"Fn::Sub": "mlops-retail-\$\{Environment\}-(\w+)"}', text))
        assert text.count("ImportValue") == len(re.findall(r'!ImportValue {"Fn::Sub": "mlops-retail-', text)), component
        assert wanted <= exported, f"{component} imports {wanted - exported} too early"
        imported |= wanted
        exported |= set(re.findall(r'Export: {Name: !Sub "mlops-retail-\$\{Environment\}-(\w+)"}', text))
        outputs |= set(templates.read(text).get("Outputs", {}))
    assert outputs == exported == imported


@pytest.mark.parametrize(
    ("caller", "arn"),
    [
        (ADMIN, ADMIN),
        ("arn:aws:sts::123456789012:assumed-role/Admin/me", "arn:aws:iam::123456789012:role/with/a/path/Admin"),
    ],
)
def test_principal_is_the_role_behind_a_session(monkeypatch, caller, arn):
    class Iam:
        conn = type("Client", (), {"get_role": staticmethod(lambda **_request: {"Role": {"Arn": arn}})})

    class Sts:
        conn = type("Client", (), {"get_caller_identity": staticmethod(lambda: {"Arn": caller})})

    monkeypatch.setattr(stacks, "StsHook", lambda **_options: Sts)
    monkeypatch.setattr(stacks, "AwsBaseHook", lambda **_options: Iam)
    assert stacks.principal("aws_admin") == arn
