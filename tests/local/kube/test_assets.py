"""Where the Kubernetes binaries come from: given, cached or built. Go is a program that writes what it is asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.kube import assets
from local.kube.assets import AssetsError
from local.stack import config

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
        self.folder, self.path = folder, folder / "path"
        self.path.mkdir()

    @property
    def cache(self) -> Path:
        return config.cache_dir() / "kube" / assets.VERSION

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
    monkeypatch.delenv("KUBE_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(made.path))
    return made


def fill(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("given")
        (folder / name).chmod(0o755)


def test_a_given_folder_is_used(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "given", NAMES)
    monkeypatch.setenv("KUBE_ASSETS", str(tmp_path / "given"))
    assert assets.ensure() == tmp_path / "given"


def test_what_a_given_folder_lacks_is_named(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "given", [name for name in NAMES if name not in ("etcd", "kubectl")])
    monkeypatch.setenv("KUBE_ASSETS", str(tmp_path / "given"))
    with pytest.raises(AssetsError, match="lacks etcd, kubectl"):
        assets.ensure()


def test_a_file_that_cannot_be_run_is_lacking(tmp_path: Path) -> None:
    fill(tmp_path / "given", NAMES)
    (tmp_path / "given" / "etcd").chmod(0o600)
    assert assets.missing(tmp_path / "given") == ["etcd"]


def test_the_cache_is_used_without_go(machine: Machine) -> None:
    fill(machine.cache, NAMES)
    assert assets.ensure() == machine.cache


def test_everything_is_built_into_the_cache(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.has_go()
    assert assets.ensure() == machine.cache
    assert assets.missing(machine.cache) == []
    assert "-mod=readonly" in (machine.cache / "etcd").read_text()
    assert f"[6/6] {NAMES[-1]}" in capsys.readouterr().err


def test_a_second_call_builds_nothing(machine: Machine) -> None:
    machine.has_go()
    assets.ensure()
    once = machine.built()
    assets.ensure()
    assert machine.built() == once


def test_a_failed_build_says_why_and_how_to_go_on(machine: Machine) -> None:
    machine.has_go(broken="kube-scheduler")
    with pytest.raises(AssetsError, match=r"(?s)kube-scheduler does not build.*undefined: something.*KUBE_ASSETS"):
        assets.ensure()
    assert "kube-scheduler" in assets.missing(machine.cache)


def test_a_build_goes_on_where_it_was_cut_off(machine: Machine) -> None:
    machine.has_go(broken="kube-scheduler")
    with pytest.raises(AssetsError):
        assets.ensure()
    done = [name for name in NAMES if name not in assets.missing(machine.cache)]
    assert done
    (machine.folder / "calls").unlink()
    machine.has_go()
    assets.ensure()
    assert set(machine.built()).isdisjoint(done)
    assert assets.missing(machine.cache) == []


def test_two_that_build_at_once_build_it_once(machine: Machine) -> None:
    machine.has_go(seconds=0.1)
    command = [sys.executable, "-c", "from local.kube import assets; assets.ensure()"]
    both = [subprocess.Popen(command, cwd=config.ROOT, env=os.environ, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(machine.built()) == len(NAMES)


@pytest.mark.parametrize("version", ["go1.25.9", "go1.26.3", "devel"])
def test_a_go_that_is_too_old_is_not_used(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    machine.has_go(version)
    monkeypatch.setattr(config, "ROOT", tmp_path)  # no environments here: nothing to fetch the wheel with
    with pytest.raises(AssetsError, match=r"(?s)Go 1\.26.*KUBE_ASSETS"):
        assets.ensure()
    assert machine.built() == []


def test_recipes_pin_every_module() -> None:
    for recipe in {binary.recipe for binary in assets.BINARIES}:
        assert (assets.RECIPES / recipe / "go.sum").read_text().strip()
    kubernetes = (assets.RECIPES / "kubernetes" / "go.mod").read_text()
    assert f"k8s.io/kubernetes {assets.VERSION}\n" in kubernetes
