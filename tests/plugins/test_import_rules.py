"""The import rules of pyproject.toml cover every package of the plugins: a new one cannot be left out."""

import tomllib

from airflow_env import ROOT

PACKAGE = ROOT / "plugins" / "retail_mlops"


def contract(name):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (found,) = [rules for rules in settings["contracts"] if rules["name"].startswith(name)]
    return found


def test_every_package_is_either_shared_or_a_feature():
    packages = {f"retail_mlops.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    shared = contract("Shared plugin code")
    features = set(contract("Feature packages")["modules"])
    assert len(packages) > 8
    assert set(shared["source_modules"]) | features == packages
    assert set(shared["forbidden_modules"]) == features
