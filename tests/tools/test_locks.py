"""Locks: each is hashed, names no index, and has what its .in asks for. `make lock-check` asks the index itself."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import locks

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
NAMES = locks.runtimes()


def asked(name: str) -> list[Requirement]:
    """What a .in asks for, with the files that it includes."""
    found = []
    for line in (locks.REQUIREMENTS / f"{name}.in").read_text().splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            found += asked(Path(line[3:]).stem)
        elif line:
            found.append(Requirement(line))
    assert found, f"{name}.in asks for nothing"
    return found


def test_each_runtime_has_a_lock_and_each_lock_a_runtime():
    assert {path.stem for path in locks.REQUIREMENTS.glob("*.txt")} == set(NAMES)
    assert {"airflow", "api", "bootstrap", "ci", "dev", "jobs", "local-aws"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_has_what_its_in_asks_for(name):
    pins = PIN.findall((locks.REQUIREMENTS / f"{name}.txt").read_text())
    there = {canonicalize_name(package): version for package, version in pins}
    for requirement in asked(name):
        assert requirement.specifier.contains(there[canonicalize_name(requirement.name)], prereleases=True)


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_a_hash_and_no_index_is_named(name):
    text = (locks.REQUIREMENTS / f"{name}.txt").read_text()
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    pinned = [block for block in blocks if PIN.match(block)]
    assert pinned
    assert [block.splitlines()[0] for block in pinned if "--hash=sha256:" not in block] == []
    assert "://" not in text


# --- the command, without an index: uv finds all there is to find in a folder of wheels ---
@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Requirements of one package that exists in two versions, resolved from files alone."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for version in ("1.0", "1.1"):
        build_wheel(wheels, version)
    monkeypatch.setattr(locks, "OPTIONS", (*locks.OPTIONS, "--no-index", f"--find-links={wheels}"))
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    (requirements / "one.in").write_text("basket==1.0\n")
    locks.resolve("one", requirements)
    return requirements


def build_wheel(wheels: Path, version: str) -> None:
    source = wheels / f"source-{version}"
    info = source / f"basket-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: basket\nVersion: {version}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    (info / "RECORD").write_text("")
    name = wheels / f"basket-{version}-py3-none-any"
    shutil.make_archive(str(name), "zip", source)
    name.with_name(name.name + ".zip").rename(name.with_name(name.name + ".whl"))
    shutil.rmtree(source)


def test_a_lock_in_step_passes_and_stays_as_it_is(folder, capsys):
    before = (folder / "one.txt").read_bytes()
    assert locks.check(folder)
    assert (folder / "one.txt").read_bytes() == before
    assert capsys.readouterr().out == ""


def test_a_lock_behind_its_in_is_told_with_the_difference_and_left_alone(folder, capsys):
    (folder / "one.in").write_text("basket==1.1\n")
    before = (folder / "one.txt").read_bytes()
    assert not locks.check(folder)
    assert (folder / "one.txt").read_bytes() == before
    told = capsys.readouterr().out
    assert "one.txt is not what one.in asks for: make lock" in told
    assert "+basket==1.1" in told


def test_a_missing_lock_is_out_of_step(folder):
    (folder / "one.txt").unlink()
    assert not locks.check(folder)


def test_a_hash_of_no_file_of_the_index_is_told(folder, capsys):
    """uv takes over the hashes of the lock that it is to renew: resolving alone would let it pass."""
    text = (folder / "one.txt").read_text()
    (folder / "one.txt").write_text(re.sub("sha256:.{64}", f"sha256:{'0' * 64}", text, count=1))
    assert not locks.check(folder)
    assert f"basket==1.0: --hash=sha256:{'0' * 64} is the hash of no file of the index" in capsys.readouterr().out


def test_a_file_that_the_index_got_since_is_no_fault(folder, monkeypatch):
    resolve = locks.resolve

    def resolve_later(name: str, where: Path) -> None:
        resolve(name, where)
        lock = where / f"{name}.txt"
        lock.write_text(lock.read_text().replace("    --hash", f"    --hash=sha256:{'1' * 64} \\\n    --hash", 1))

    monkeypatch.setattr(locks, "resolve", resolve_later)
    assert locks.check(folder)


def test_a_version_stays_until_an_upgrade_names_its_package(folder):
    (folder / "one.in").write_text("basket\n")
    locks.resolve("one", folder)
    assert "basket==1.0" in (folder / "one.txt").read_text()
    locks.resolve("one", folder, upgrade="basket")
    assert "basket==1.1" in (folder / "one.txt").read_text()


def test_a_lock_that_stays_the_same_keeps_its_date_and_so_make_its_environment(folder):
    lock = folder / "one.txt"
    os.utime(lock, ns=(10**18, 10**18))
    locks.resolve("one", folder)
    assert lock.stat().st_mtime_ns == 10**18
    (folder / "one.in").write_text("basket==1.1\n")
    locks.resolve("one", folder)
    assert lock.stat().st_mtime_ns > 10**18


def test_what_has_no_solution_is_an_error(folder):
    (folder / "one.in").write_text("basket==2.0\n")
    with pytest.raises(subprocess.CalledProcessError):
        locks.resolve("one", folder)
