"""Known vulnerabilities of what the locks name: `make audit`, by pip-audit, which asks the package index.

Without an index, or with a mirror that has no advisories, pip-audit skips what it cannot look up; that counts as a
failure here (`--strict`): an audit that saw nothing is none. ACCEPTED says why an advisory is lived with.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("pip-audit")
ACCEPTED: dict[str, str] = {}
"""advisory → why it does not concern us, or what we do until it is mended."""
OPTIONS = ("--require-hashes", "--disable-pip", "--no-deps", "--strict", "--progress-spinner=off")


def audit(locks: list[Path]) -> int:
    """Audit each lock; how many did not pass."""
    ignored = [f"--ignore-vuln={advisory}" for advisory in ACCEPTED]
    failed = 0
    for lock in locks:
        print(lock.name, flush=True)
        done = subprocess.run([PROGRAM, "--requirement", lock, *OPTIONS, *ignored], check=False)
        failed += done.returncode != 0
    print(f"{len(locks)} locks, {failed} with vulnerabilities, or that could not be looked up")
    return failed


def main() -> int:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    return 1 if audit(locks) or not locks else 0


if __name__ == "__main__":
    sys.exit(main())
