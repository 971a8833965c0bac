"""Create a runtime's environment while an image is built: `python tools/image_environment.py RUNTIME [--lock SHA256]`.

It is what `make install` creates, from the same lock, at the same path below the project (`.venv/RUNTIME`), without
files that no process of the project reads. Nothing in it depends on the time of the build:
modules are compiled to unchecked-hash bytecode (a read-only root could not renew it anyway), and every file has the
same time.
"""

import argparse
import compileall
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "315532800"))  # 1980-01-01: the earliest time of zip files

UNREAD = ("**/tests", "**/*.pyi", "**/*.pxd", "**/*.pyx", "**/*.c", "**/*.h", "**/*.a")
"""Tests, type stubs and sources of compiled modules of third parties, below site-packages."""
UNREAD_BY = {
    # The API only runs sessions of onnxruntime, and asks S3, SageMaker and STS (api/model/aws.py, IRSA).
    "api": ("onnxruntime/transformers", "onnxruntime/tools", "onnxruntime/quantization", "numpy/f2py"),
}
AWS_SERVICES = {"api": ("s3", "sagemaker", "sts")}
"""Services of which botocore keeps its models (some 30 MB for all); a runtime that is not here keeps them all."""


def site_packages(runtime: str) -> Path:
    """Return the folder of a runtime's packages."""
    return next((ROOT / ".venv" / runtime / "lib").glob("python*/site-packages"))


def install(runtime: str, wanted: str | None) -> None:
    """Install a runtime from its lock. Exit if the lock file is not the one that the image's label will name."""
    lock = ROOT / f"requirements/{runtime}.txt"
    home = ROOT / ".venv" / runtime
    sha256 = hashlib.sha256(lock.read_bytes()).hexdigest()
    if wanted and wanted != sha256:
        sys.exit(f"requirements/{runtime}.txt has SHA-256 {sha256}, the build argument says {wanted}")
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, home], check=True)
    python = home / "bin" / "python"
    sync: list[str | Path] = [
        "uv",
        "pip",
        "sync",
        "--quiet",
        "--no-cache",
        "--require-hashes",
        "--python",
        python,
        lock,
    ]
    subprocess.run(sync, check=True)
    (home / ".lock").unlink(missing_ok=True)  # uv's, writable by everybody
    (home / "lock.sha256").write_text(sha256 + "\n")


def unread(runtime: str) -> Iterator[Path]:
    """Yield what no process of the runtime reads."""
    packages = site_packages(runtime)
    for pattern in (*UNREAD, *UNREAD_BY.get(runtime, ())):
        yield from packages.glob(pattern)
    if kept := AWS_SERVICES.get(runtime):
        yield from (
            folder for folder in (packages / "botocore/data").iterdir() if folder.is_dir() and folder.name not in kept
        )


def compile_all(folder: Path) -> None:
    """Compile every module; third parties ship a few files that are not Python of this version."""
    compileall.compile_dir(
        folder, quiet=2, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )  # fmt: skip


def settle(folder: Path) -> None:
    """Give every file and folder the same time."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def main() -> None:
    """Install a runtime, or compile the project's own sources."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", nargs="?", help="without it: compile the project's own sources")
    parser.add_argument("--lock", help="SHA-256 that the runtime's lock file must have")
    options = parser.parse_args()
    if not options.runtime:
        for name in ("api", "cli", "dags", "include", "local", "plugins"):
            compile_all(ROOT / name)
        settle(ROOT)
        return
    install(options.runtime, options.lock)
    for path in list(unread(options.runtime)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    compile_all(site_packages(options.runtime))
    settle(ROOT / ".venv" / options.runtime)


if __name__ == "__main__":
    main()
