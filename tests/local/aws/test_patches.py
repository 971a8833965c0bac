"""Nothing of ministack changes at import; one explicit call changes all of it, once."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

import local.aws
from local.aws import compatibility
from local.aws import patches as module
from local.aws.patch import Patch
from local.aws.sagemaker.job_run import Platform
from local.aws.sagemaker.service import SageMaker
from local.aws.sagemaker.store import Store
from local.stack import config

PROGRAM = """
import importlib, json, os, pathlib, pkgutil, sys, types
from local.aws import compatibility
for name in compatibility.NAMES:
    importlib.import_module(name)
MODULES = [module for name, module in sorted(sys.modules.items()) if name.startswith("ministack")]

def copy(value, depth=4):
    if type(value) is dict and depth:
        return {key: copy(inner, depth - 1) for key, inner in value.items()}
    if type(value) in (list, tuple) and depth:
        return [copy(inner, depth - 1) for inner in value]
    return set(value) if type(value) is set else id(value)

def snapshot():
    return {
        f"{module.__name__}.{name}": copy(value)
        for module in MODULES
        for name, value in vars(module).items()
        if not isinstance(value, types.ModuleType) and not name.startswith("__")
    }

def changes(before, after):
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))

pristine = snapshot()
import local.aws
names = [m.name for m in pkgutil.walk_packages(local.aws.__path__, "local.aws.")]
for name in names:
    importlib.import_module(name)
imported = snapshot()

folder = pathlib.Path(sys.argv[1])
(folder / "aws").mkdir()
os.environ |= {"LOCAL_STATE": str(folder), "XDG_CACHE_HOME": str(folder)}
from local.aws import patches
from local.aws.sagemaker import service
from local.stack import config
stack = config.load(folder)
sagemaker = service.start(stack)
patches.install(stack, sagemaker)
installed = snapshot()
try:
    patches.install(stack, sagemaker)
    refusal = ""
except RuntimeError as error:
    refusal = str(error)
print(json.dumps({
    "modules": names,
    "by import": changes(pristine, imported),
    "by install": changes(imported, installed),
    "by a second install": changes(installed, snapshot()),
    "refusal": refusal,
}))
"""
"""Imports and installs, and prints which attributes of ministack's modules changed at each step."""

ALIASES = {
    "ministack.services.cloudformation.changesets._RESOURCE_HANDLERS",
    "ministack.services.cloudformation.drift._STACK_TAG_PROPERTY",
}
"""Tables of ministack's provisioners that other modules of it import by name."""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What PROGRAM prints, in a process of its own: patches cannot be taken back."""
    folder = str(tmp_path_factory.mktemp("state"))
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder], cwd=config.ROOT, capture_output=True, text=True, check=False
    )
    assert program.returncode == 0, program.stderr[-3000:]
    return dict(json.loads(program.stdout))


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Patch, ...]:
    folder = tmp_path_factory.mktemp("aws")
    service = SageMaker(Store(folder / "sagemaker.db"), Platform("http://127.0.0.1:1", folder, folder, {}))
    return module.patches(service)


def test_importing_every_module_changes_nothing_in_ministack(result: dict[str, Any]) -> None:
    assert {"local.aws.serve", "local.aws.__main__", "local.aws.eks.clusters"} <= set(result["modules"])
    assert result["by import"] == []


def test_the_map_of_the_package_names_every_module(result: dict[str, Any]) -> None:
    words = set(re.findall(r"\w+", str(local.aws.__doc__)))
    assert {name.rpartition(".")[2] for name in result["modules"]} - words == set()


def test_install_changes_what_the_patches_name_and_nothing_else(
    result: dict[str, Any], patches: tuple[Patch, ...]
) -> None:
    named = {f"{patch.module.__name__}.{patch.name}" for patch in patches}
    assert set(result["by install"]) == named | ALIASES


def test_a_second_install_is_refused_and_changes_nothing(result: dict[str, Any]) -> None:
    assert "call install() once per process" in result["refusal"]
    assert result["by a second install"] == []


def test_every_patched_name_has_a_reason_for_the_pinned_version(patches: tuple[Patch, ...]) -> None:
    assert len(patches) > 50
    assert version("ministack") == compatibility.VERSION
    for patch in patches:
        assert patch.reason, patch.target
        assert patch.name in compatibility.NAMES[patch.module.__name__].split(), patch.target


def test_only_the_check_of_resources_is_patched_twice(patches: tuple[Patch, ...]) -> None:
    targets = [patch.target for patch in patches]
    twice = {target for target in targets if targets.count(target) > 1}
    assert twice == {"ministack.core.iam_actions.extract_resource_arn"}  # node groups, and SageMaker
