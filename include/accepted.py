"""Vulnerabilities that are accepted until a day: accepted.yaml, one list for every gate."""

import datetime as dt
import re
from pathlib import Path
from typing import Final

import yaml

LIST: Final = Path(__file__).with_name("accepted.yaml")
MAX_PERIOD: Final = dt.timedelta(days=90)
_REASON: Final = re.compile(r"until (\d{4}-\d{2}-\d{2}): \S.*", re.DOTALL)


def read(text: str) -> dict[str, dt.date]:
    """Return vulnerability -> the last day on which it is accepted.

    text: the content of accepted.yaml. ValueError for an entry of another form: grype, which reads the same file, would
    take an entry without an id, or with other keys, as a rule for many vulnerabilities.
    """
    last_day_of = {}
    for entry in yaml.safe_load(text)["ignore"]:
        reason = _REASON.fullmatch(str(entry.get("reason", "")))
        if entry.keys() != {"vulnerability", "reason"} or not entry["vulnerability"] or not reason:
            raise ValueError(f"{LIST.name}: {entry}: expected a vulnerability and a reason 'until YYYY-MM-DD: why'")
        last_day_of[str(entry["vulnerability"])] = dt.date.fromisoformat(reason[1])
    return last_day_of


def accepted(day: dt.date) -> set[str]:
    """Return the vulnerabilities that are accepted on a day. ValueError as for `read`."""
    return {name for name, last in read(LIST.read_text()).items() if day <= last <= day + MAX_PERIOD}


def expired(day: dt.date) -> set[str]:
    """Return the listed vulnerabilities whose last day has passed, or is further away than MAX_PERIOD."""
    return read(LIST.read_text()).keys() - accepted(day)
