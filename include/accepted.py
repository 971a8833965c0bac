"""Vulnerabilities that are lived with for a time: accepted.yaml, one list for every gate."""

import datetime as dt
import re
from pathlib import Path
from typing import Final

import yaml

LIST: Final = Path(__file__).with_name("accepted.yaml")
LONGEST: Final = dt.timedelta(days=90)
_REASON: Final = re.compile(r"until (\d{4}-\d{2}-\d{2}): \S.*", re.DOTALL)


def read(text: str) -> dict[str, dt.date]:
    """Vulnerability → the last day on which it is accepted. ValueError for an entry that is not of the list's form: to
    grype, one without an id, or with other keys, is a rule for many."""
    found = {}
    for entry in yaml.safe_load(text)["ignore"]:
        reason = _REASON.fullmatch(str(entry.get("reason", "")))
        if entry.keys() != {"vulnerability", "reason"} or not entry["vulnerability"] or not reason:
            raise ValueError(f"{LIST.name}: {entry}: expected a vulnerability and a reason 'until YYYY-MM-DD: why'")
        found[str(entry["vulnerability"])] = dt.date.fromisoformat(reason[1])
    return found


def accepted(day: dt.date) -> set[str]:
    """What is accepted on a day. ValueError as of `read`."""
    return {name for name, last in read(LIST.read_text()).items() if day <= last <= day + LONGEST}


def lapsed(day: dt.date) -> set[str]:
    """What is in the list, and not accepted on the day: its day has passed, or is too far off."""
    return read(LIST.read_text()).keys() - accepted(day)
