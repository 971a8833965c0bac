"""Look for known vulnerabilities of locked packages: `make audit`, by pip-audit, which asks the package index.

Without an index, or with a mirror that has no advisories, pip-audit skips what it cannot look up. That counts as a
failure here (`--strict`). include/accepted.yaml says which advisories are accepted, and until when: one that has
expired is a failure, too.
"""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from include.accepted import accepted, expired

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("pip-audit")
OPTIONS = ("--require-hashes", "--disable-pip", "--no-deps", "--strict", "--progress-spinner=off")


def audit(locks: list[Path], accepted_advisories: Iterable[str] = ()) -> int:
    """Audit each lock and return how many did not pass."""
    ignored = [f"--ignore-vuln={advisory}" for advisory in accepted_advisories]
    failed = 0
    for lock in locks:
        print(lock.name, flush=True)
        done = subprocess.run([PROGRAM, "--requirement", lock, *OPTIONS, *ignored], check=False)
        failed += done.returncode != 0
    print(f"{len(locks)} locks, {failed} with vulnerabilities, or that could not be looked up")
    return failed


def main() -> int:
    """Audit every lock; the exit status is 1 unless all of them pass."""
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    today = dt.datetime.now(dt.UTC).date()
    if late := expired(today):
        print(f"include/accepted.yaml: no longer accepted, or for too long: {', '.join(sorted(late))}", file=sys.stderr)
    return 1 if audit(locks, accepted(today)) or late or not locks else 0


if __name__ == "__main__":
    sys.exit(main())
