"""Refuse a Python that the locks do not support, before anything is installed: `python3 tools/python_version.py`.

The supported range is `requires-python` of pyproject.toml. This file runs in whatever Python the user has, so it needs
the standard library only, and no feature newer than Python 3.6.
"""

import re
import sys
from pathlib import Path
from typing import Tuple  # noqa: UP035 - `tuple[...]` needs Python 3.9

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
RANGE = re.compile(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', re.MULTILINE)


def supported(text: str) -> Tuple[int, int]:  # noqa: UP006 - as above
    """Return the minor versions of the oldest and the newest Python that the text of pyproject.toml allows."""
    found = RANGE.search(text)
    if not found:
        raise ValueError('pyproject.toml: expected requires-python = ">=3.x,<3.y"')
    return int(found.group(1)), int(found.group(2)) - 1


def refusal(major: int, minor: int, text: str) -> str:
    """Return the sentence that refuses Python major.minor; an empty text when it is supported."""
    oldest, newest = supported(text)
    if major == 3 and oldest <= minor <= newest:
        return ""
    return (
        f"Python 3.{oldest} to 3.{newest} is supported, and {sys.executable} is Python {major}.{minor}: "
        f"install one of them and name it, for example `make install PYTHON=python3.{newest}`."
    )


if __name__ == "__main__":
    sys.exit(refusal(sys.version_info[0], sys.version_info[1], PROJECT.read_text(encoding="utf-8")) or 0)
