"""Where the Kubernetes binaries come from: prebuilt, cached or built. Go is a program that records its calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.kube import assets
from local.kube.assets import Assets, AssetsError

ROOT = Path(__file__).parents[3]
NAMES = [binary.name for binary in assets.BINARIES]
GO = """#!{python}
import os, sys, time
from pathlib import Path
folder = Path({folder!r})
if sys.argv[1] == "env":
    print({version!r})
    sys.exit()
with (folder / "calls").open("a") as calls:
    calls.write(sys.argv[-1] + "\\n")
if sys.argv[-1].endswith({broken!r}):
    sys.exit("undefined: something")
time.sleep({seconds})
target = Path(sys.argv[sys.argv.index("-o") + 1])
target.write_text(os.environ["GOFLAGS"])
target.chmod(0o755)
"""


class Machine:
    """A cache folder and a PATH of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "path"
        self.path.mkdir()
        self.assets = Assets(cache=folder / "cache")
        self.built_folder = folder / "cache" / assets.VERSION

    def has_go(self, version: str = "go1.26.8", broken: str = "nothing", seconds: float = 0) -> None:
        program = self.path / "go"
        code = {"python": sys.executable, "folder": str(self.folder), "version": version, "broken": broken}
        program.write_text(GO.format(**code, seconds=seconds))
        program.chmod(0o755)

    def built(self) -> list[str]:
        calls = self.folder / "calls"
        return [line.rpartition("/")[2] for line in calls.read_text().splitlines()] if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.path))
    return made


def fill(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("given")
        (folder / name).chmod(0o755)


def test_a_prebuilt_folder_is_used(machine: Machine, tmp_path: Path) -> None:
    fill(tmp_path / "given", NAMES)
    prebuilt = Assets(cache=tmp_path / "cache", prebuilt=tmp_path / "given")
    assert prebuilt.ensure() == tmp_path / "given"
    assert prebuilt.find() == tmp_path / "given"


def test_what_a_prebuilt_folder_lacks_is_named(machine: Machine, tmp_path: Path) -> None:
    fill(tmp_path / "given", [name for name in NAMES if name not in ("etcd", "kubectl")])
    prebuilt = Assets(cache=tmp_path / "cache", prebuilt=tmp_path / "given")
    with pytest.raises(AssetsError, match="lacks etcd, kubectl"):
        prebuilt.ensure()
    with pytest.raises(AssetsError, match="lacks etcd, kubectl"):
        prebuilt.find()


def test_a_file_that_cannot_be_run_is_lacking(tmp_path: Path) -> None:
    fill(tmp_path / "given", NAMES)
    (tmp_path / "given" / "etcd").chmod(0o600)
    assert assets.missing(tmp_path / "given") == ["etcd"]


def test_the_cache_is_used_without_go(machine: Machine) -> None:
    fill(machine.built_folder, NAMES)
    assert machine.assets.ensure() == machine.built_folder
    assert machine.assets.find() == machine.built_folder


def test_who_only_looks_builds_nothing(machine: Machine) -> None:
    machine.has_go()
    assert machine.assets.find() is None
    assert machine.built() == []
    assert not machine.built_folder.exists()


def test_an_incomplete_build_is_not_found(machine: Machine) -> None:
    fill(machine.built_folder, [name for name in NAMES if name != "kubectl"])
    assert machine.assets.find() is None


def test_everything_is_built_into_the_cache(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has_go()
    assert machine.assets.ensure() == machine.built_folder
    assert assets.missing(machine.built_folder) == []
    assert "-mod=readonly" in (machine.built_folder / "etcd").read_text()
    assert f"[6/6] {NAMES[-1]}" in capsys.readouterr().err


def test_a_second_call_builds_nothing(machine: Machine) -> None:
    machine.has_go()
    machine.assets.ensure()
    once = machine.built()
    machine.assets.ensure()
    assert machine.built() == once


def test_a_failed_build_says_why_and_what_to_do(machine: Machine) -> None:
    machine.has_go(broken="kube-scheduler")
    with pytest.raises(AssetsError, match=r"(?s)kube-scheduler does not build.*undefined: something.*KUBE_ASSETS"):
        machine.assets.ensure()
    assert "kube-scheduler" in assets.missing(machine.built_folder)


def test_an_interrupted_build_continues(machine: Machine) -> None:
    machine.has_go(broken="kube-scheduler")
    with pytest.raises(AssetsError):
        machine.assets.ensure()
    done = [name for name in NAMES if name not in assets.missing(machine.built_folder)]
    assert done
    (machine.folder / "calls").unlink()
    machine.has_go()
    machine.assets.ensure()
    assert set(machine.built()).isdisjoint(done)
    assert assets.missing(machine.built_folder) == []


def test_two_that_build_at_once_build_it_once(machine: Machine) -> None:
    machine.has_go(seconds=0.1)
    program = "import pathlib, sys; from local.kube.assets import Assets; Assets(pathlib.Path(sys.argv[1])).ensure()"
    command = [sys.executable, "-c", program, str(machine.assets.cache)]
    both = [subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(machine.built()) == len(NAMES)


@pytest.mark.parametrize("version", ["go1.25.9", "go1.26.3", "devel"])
def test_a_go_that_is_too_old_is_not_used(machine: Machine, version: str) -> None:
    machine.has_go(version)
    with pytest.raises(AssetsError, match=r"(?s)Go 1\.26.*KUBE_ASSETS"):
        machine.assets.ensure()
    assert machine.built() == []


def test_go_is_installed_where_path_has_none(machine: Machine, tmp_path: Path) -> None:
    installed: list[Path] = []
    assert Assets(cache=tmp_path / "cache", install_go=installed.append).go() == str(tmp_path / "cache/go/bin/go")
    assert installed == [tmp_path / "cache" / "go"]


def test_go_that_cannot_be_installed_is_an_error(machine: Machine, tmp_path: Path) -> None:
    def install(home: Path) -> None:
        raise OSError("no network")

    with pytest.raises(AssetsError, match=r"(?s)Go 1\.26.*no network.*KUBE_ASSETS"):
        Assets(cache=tmp_path / "cache", install_go=install).go()


def test_recipes_pin_every_module() -> None:
    for recipe in {binary.recipe for binary in assets.BINARIES}:
        assert (assets.RECIPES / recipe / "go.sum").read_text().strip()
    kubernetes = (assets.RECIPES / "kubernetes" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {assets.VERSION}\n" in kubernetes
