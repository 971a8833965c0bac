"""What a check asks (an account) and what it returns (findings)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from include.settings import PREFIX as PREFIX
from include.settings import Settings

State = Literal["ok", "note", "missing", "unknown"]


@dataclass(frozen=True)
class Finding:
    """One line of the report: a state, what was found, and what to do about it.

    ok: as it should be; note: works, but know this; missing: provision or a later step would fail; unknown: could not
    be asked.
    """

    state: State
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Account:
    """An AWS account as the caller sees it, and the settings that are meant for it. client: service → boto3 client."""

    client: Callable[[str], Any]
    settings: Settings


Check = Callable[[Account], Iterator[Finding]]
