"""CloudFormation's own tags are read as mappings of one entry."""

import pytest
import yaml

from include import templates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref Name", {"Ref": "Name"}),
        ("!GetAtt Role.Arn", {"GetAtt": "Role.Arn"}),
        ("!Join ['-', [a, !Ref b]]", {"Join": ["-", ["a", {"Ref": "b"}]]}),
        ("!Transform {Name: x}", {"Transform": {"Name": "x"}}),
    ],
)
def test_tags_become_mappings(text, value):
    assert templates.read(f"Key: {text}") == {"Key": value}


@pytest.mark.parametrize("text", ["Key: [", "Key: !!python/name:os.system ''"], ids=["damaged", "a Python object"])
def test_anything_else_is_refused(text):
    with pytest.raises(yaml.YAMLError):
        templates.read(text)
