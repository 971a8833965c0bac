"""What the benchmarks share: the cache for what they make once, and a stored baseline that makes regressions fail."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORSE = 1.3
"""Noise between runs; beyond it a figure is a regression."""


def cache() -> Path:
    """This project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retail-mlops"


def options(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--store", action="store_true", help="write the figures as the new baseline")
    return parser


def target(told: str, reached: bool) -> None:
    print(f"target {told}: {'reached' if reached else 'not reached'}")


def settle(name: str, now: dict[str, Any], regressions: Callable[[dict[str, Any]], list[str]], store: bool) -> int:
    """Store `now` as the baseline NAME.json, or hold it against the stored one; the exit code.

    regressions: takes the stored baseline and says what is clearly worse than it."""
    path = Path(__file__).with_name(f"{name}.json")
    if store:
        path.write_text(json.dumps(now, indent=1) + "\n")
        return 0
    if not path.exists():
        print(f"there is no baseline yet: run it with --store on a quiet machine to write {path}", file=sys.stderr)
        return 1
    worse = regressions(json.loads(path.read_text()))
    for text in worse:
        print(f"REGRESSION {text}", file=sys.stderr)
    return 1 if worse else 0
