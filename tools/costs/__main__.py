"""`python -m tools.costs`: write docs/costs.md, or compare it (--check), or print it for your settings (--mine)."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins"))

from include.settings import PREFIX
from tools.costs.page import page
from tools.costs.resources import ROOT

PAGE: Final = ROOT / "docs" / "costs.md"


def main() -> int:
    """Write, compare or print the page; the exit status is 1 when it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with docs/costs.md, write nothing")
    parser.add_argument("--mine", action="store_true", help="print it for the RETAIL_* of this shell, write nothing")
    options = parser.parse_args()
    if options.mine:
        print(page())
        return 0
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]  # the page in the repository is about the defaults
    fresh = page()
    if options.check:
        stale = not PAGE.exists() or PAGE.read_text() != fresh
        print("docs/costs.md is stale: run `make costs`" if stale else "docs/costs.md is up to date")
        return int(stale)
    PAGE.write_text(fresh)
    print(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
