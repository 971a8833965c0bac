"""Resolve requirements/*.in into hashed requirements/*.txt: `make lock`, `make lock UPGRADE=numpy`, `make lock-check`.

Versions that a lock has stay, unless its .in asks for others or UPGRADE names the package. Only the standard library
and the installer of `.venv/bootstrap` are needed, and the package index.
"""

import argparse
import difflib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
UV = ROOT / ".venv/bootstrap/bin/uv"
OPTIONS = ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header")
SHOWN = 40
"""Lines of a difference that are printed."""


def runtimes(folder: Path = REQUIREMENTS) -> list[str]:
    """Return the names of the .in files."""
    return sorted(path.stem for path in folder.glob("*.in"))


def resolve(name: str, folder: Path, upgrade: str = "") -> None:
    """Write `folder`/name.txt from `folder`/name.in. Raise CalledProcessError when uv finds no solution; it prints why.

    A lock that stays the same keeps its date, by which make knows what to install again.
    """
    lock = folder / f"{name}.txt"
    before = (lock.read_bytes(), lock.stat()) if lock.exists() else None
    wanted = ["--upgrade-package", upgrade] if upgrade else []
    command: list[str | Path] = [UV, "pip", "compile", "--quiet", *OPTIONS, *wanted, "-o", f"{name}.txt", f"{name}.in"]
    subprocess.run(command, cwd=folder, check=True)
    if before and lock.read_bytes() == before[0]:
        os.utime(lock, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))


def without_hashes(text: str) -> tuple[list[str], dict[str, set[str]]]:
    """Return the lines of a lock without the hashes, and the hashes by the line of their pin."""
    lines: list[str] = []
    hashes: dict[str, set[str]] = {}
    pin = ""
    for line in text.splitlines():
        bare = line.removesuffix("\\").rstrip()
        if bare.lstrip().startswith("--hash="):
            hashes.setdefault(pin, set()).add(bare.strip())
            continue
        lines.append(bare)
        if bare and not bare.startswith((" ", "#")):
            pin = bare
    return lines, hashes


def outdated(name: str, folder: Path) -> list[str]:
    """Return what is wrong with the lock of `name` in `folder`, which is a copy.

    That are the lines that resolving again would change, and hashes of no file of the index. A file that was added to
    the index since the lock was written is not an error.
    """
    lock = folder / f"{name}.txt"
    before, old_hashes = without_hashes(lock.read_text() if lock.exists() else "")
    lock.write_text("\n".join(before))  # uv would take over the hashes that are there, right or wrong
    resolve(name, folder)
    after, new_hashes = without_hashes(lock.read_text())
    difference = list(difflib.unified_diff(before, after, f"{name}.txt", f"{name}.in resolved", lineterm=""))
    unknown = [
        f"{pin}: {sha256} is the hash of no file of the index"
        for pin in old_hashes.keys() & new_hashes.keys()
        for sha256 in sorted(old_hashes[pin] - new_hashes[pin])
    ]
    return difference + unknown


def check(folder: Path = REQUIREMENTS) -> bool:
    """Return whether every lock of the folder is what its .in resolves to, and print what is not; change nothing."""
    in_step = True
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(shutil.copytree(folder, Path(temporary) / "requirements"))
        for name in runtimes(folder):
            if difference := outdated(name, copy):
                in_step = False
                print(
                    f"requirements/{name}.txt is not what {name}.in asks for: make lock", *difference[:SHOWN], sep="\n"
                )
    return in_step


def main() -> int:
    """Write the locks, or check them."""
    parser = argparse.ArgumentParser(prog="python -m tools.locks", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 when a lock is out of step")
    parser.add_argument("--upgrade", default="", metavar="PACKAGE", help="the newest version of it that fits")
    options = parser.parse_args()
    try:
        if options.check:
            return 0 if check() else 1
        for name in runtimes():
            resolve(name, REQUIREMENTS, options.upgrade)
    except subprocess.CalledProcessError as error:
        print(f"uv pip compile ended with {error.returncode}: see its message above", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
