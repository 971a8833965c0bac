"""Read held-out baskets: JSON lines with `request`, `label` and `expected`, the answer that the bundle gave itself."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.checks.client import Inconclusive
from api.model.aws import Aws

DEFAULT_REGION = "ap-southeast-1"


def read_baskets(source: str, limit: int, region: str = DEFAULT_REGION) -> list[dict[str, Any]]:
    """Return the first `limit` held-out baskets of `source`, an s3:// URL or a path.

    Raise Inconclusive, which names the line, when one is invalid, and when there is none.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source)
        if source.startswith("s3://"):
            path = Path(folder) / "held_out.jsonl"
            Aws(region).fetch(source, path)
        try:
            lines = [line for line in path.read_text().splitlines() if line.strip()][:limit]
        except (OSError, UnicodeDecodeError) as error:
            raise Inconclusive(f"{source} cannot be read: {error}") from error
    return list(_parsed(lines, source))


def _parsed(lines: list[str], source: str) -> Iterator[dict[str, Any]]:
    if not lines:
        raise Inconclusive(f"{source} holds no basket, so nothing can be checked: run DAG train again")
    for number, line in enumerate(lines, 1):
        try:
            sample = json.loads(line)
            sample["request"], sample["expected"]["prediction"], sample["expected"]["probability"]
        except (ValueError, KeyError, TypeError) as error:
            raise Inconclusive(f"{source}:{number} is not a held-out basket ({error!r})") from error
        yield sample
