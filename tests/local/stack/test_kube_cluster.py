"""Where a local stack looks for the Kubernetes binaries: KUBE_ASSETS, .env, the user's cache."""

from pathlib import Path

import pytest

from local.kube import assets
from local.stack import config, kube_cluster
from local.stack.config import ConfigError


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout without environments, an empty cache, and no Go."""
    monkeypatch.delenv("KUBE_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(config, "ROOT", tmp_path)


def fill(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for binary in assets.BINARIES:
        (folder / binary.name).touch(0o755)
    return folder


def test_a_given_folder_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBE_ASSETS", str(fill(tmp_path / "given")))
    assert kube_cluster.ensure_binaries() == kube_cluster.find_binaries() == tmp_path / "given"


def test_a_given_folder_of_the_env_file_is_used(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"KUBE_ASSETS={fill(tmp_path / 'given')}\n")
    assert kube_cluster.ensure_binaries() == kube_cluster.find_binaries() == tmp_path / "given"


def test_what_a_given_folder_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fill(tmp_path / "given") / "etcd").unlink()
    monkeypatch.setenv("KUBE_ASSETS", str(tmp_path / "given"))
    with pytest.raises(ConfigError, match="lacks etcd"):
        kube_cluster.ensure_binaries()


def test_the_users_cache_is_used() -> None:
    folder = fill(config.cache_dir() / "kube" / assets.VERSION)
    assert kube_cluster.ensure_binaries() == kube_cluster.find_binaries() == folder


def test_who_only_looks_does_not_build() -> None:
    assert kube_cluster.find_binaries() is None
    assert not (config.cache_dir() / "kube").exists()


def test_without_go_and_its_wheel_nothing_is_built() -> None:
    with pytest.raises(ConfigError, match=r"(?s)Go 1\.26.*KUBE_ASSETS"):
        kube_cluster.ensure_binaries()
