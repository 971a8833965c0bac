"""The import rules of local.kube in pyproject.toml, which `make check` runs: imports that break them are named."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = Path(sys.executable).with_name("lint-imports")
FORBIDDEN = {
    "quantity": ("from include import settings", "local.kube.quantity -> include.settings"),
    "backoff": ("from local.stack import config", "local.kube.backoff -> local.stack.config"),
    "container": ("from local.kube import pod", "local.kube.container -> local.kube.pod"),
}


def test_forbidden_imports_are_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "local", tmp_path / "local", ignore=shutil.ignore_patterns("__pycache__"))
    for module, (line, _complaint) in FORBIDDEN.items():
        with (tmp_path / "local" / "kube" / f"{module}.py").open("a") as file:
            file.write(f"\n{line}\n")
    search = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "plugins")])
    done = subprocess.run(
        [PROGRAM, "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert [complaint for _line, complaint in FORBIDDEN.values() if complaint not in done.stdout] == []
