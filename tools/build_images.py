"""Build the Docker images: `python -m tools.build_images [TARGET …] [--tag TAG]`. Needs Docker and no other package.

Each is `retail-TARGET:TAG`. Its labels say what it was made of: version, revision, base image, and the SHA-256 of its
runtime's lock file, which the build compares with the file. The base image is $BASE, else what `make docker-base`
pinned, else DEFAULT_BASE. $BASE_DIGEST is the base image's digest for the label, $SOURCE_URL the place of the source.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"api": "api", "jobs": "jobs", "airflow": "airflow", "local": "local-aws"}
"""Target of the Dockerfile -> lock file that its label names."""
DEFAULT_BASE = "python:3.11-slim-bookworm"


def lock(target: str) -> str:
    """Return the SHA-256 of a target's lock file."""
    return hashlib.sha256((ROOT / f"requirements/{LOCKS[target]}.txt").read_bytes()).hexdigest()


def version() -> str:
    """Return the project's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def revision() -> str:
    """Return the commit, with `-dirty` when the checkout has changes; an empty text without git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        changes = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def base_image(target: str) -> str:
    """Return the image that a target is built on."""
    pinned = ROOT / f"dist/{target}.base"
    return os.environ.get("BASE") or (pinned.read_text().strip() if pinned.exists() else DEFAULT_BASE)


def arguments(target: str) -> dict[str, str]:
    """Return the build arguments of a target."""
    base = base_image(target)
    return {
        "BASE": base,
        "BASE_NAME": base.partition("@")[0],
        "BASE_DIGEST": os.environ.get("BASE_DIGEST", base.partition("@")[2]),
        "VERSION": version(),
        "REVISION": revision(),
        "SOURCE": os.environ.get("SOURCE_URL", ""),
        f"LOCK_{target.upper()}": lock(target),
    }


def build(target: str, tag: str) -> str:
    """Build a target and return the image's name. Raise CalledProcessError when Docker fails; it prints why."""
    name = f"retail-{target}:{tag}"
    given = [word for key, value in arguments(target).items() for word in ("--build-arg", f"{key}={value}")]
    command = ["docker", "build", "--quiet", "--target", target, "--tag", name, *given, str(ROOT)]
    # an attestation would make an index of the image, which ECR does not scan; the pipeline attests what it has scanned
    env = os.environ | {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    return name


def inspect(name: str) -> dict[str, Any]:
    """Return what Docker knows of an image."""
    done = subprocess.run(["docker", "image", "inspect", name], capture_output=True, text=True, check=True)
    image: dict[str, Any] = json.loads(done.stdout)[0]
    return image


def above_base(target: str, name: str) -> int | None:
    """Return the bytes of an image without those of its base; None where BuildKit keeps the base to itself."""
    try:
        base = inspect(base_image(target))
    except subprocess.CalledProcessError:
        return None
    return int(inspect(name)["Size"]) - int(base["Size"])


def main() -> int:
    """Build the targets of the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(LOCKS)} (default: all)")
    parser.add_argument("--tag", default="latest")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(LOCKS):
        parser.error(f"unknown target {', '.join(sorted(unknown))}: the targets are {', '.join(LOCKS)}")
    for target in options.targets or LOCKS:
        started = time.monotonic()
        try:
            name = build(target, options.tag)
        except FileNotFoundError:
            print("docker is not on PATH: Docker images need Docker", file=sys.stderr)
            return 1
        except subprocess.CalledProcessError as error:
            print(f"{target} was not built: docker build ended with {error.returncode}", file=sys.stderr)
            return 1
        above = above_base(target, name)
        size = f"{inspect(name)['Size'] / 1e6:.0f} MB" if above is None else f"{above / 1e6:.0f} MB above its base"
        print(f"{name}  {inspect(name)['Id']}  {size}  {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
