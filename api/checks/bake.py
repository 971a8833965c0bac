"""`python -m api.checks.bake`: compare a canary with the stable pods, under users' traffic and some of its own.

Reads BAKE_CANARY and BAKE_STABLE (http://host:port), BAKE_SECONDS and VERIFY_BASKETS (see api.checks.verify), and
optionally API_KEY. Sends the same basket to both sides in turn over one kept connection each, and reads each side's own
counts of requests before and after. Prints JSON lines as it goes.
Exits 0 when the canary did no worse, 1 when it did, 2 when it cannot tell, each with the reason.
"""

import http.client
import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.checks.verify import PATIENCE_SECONDS, CannotTell, Client, read_baskets, wait_until_ready
from api.errors import ApiError

PAIRS_PER_SECOND = 20
REPORTS = 6
BASKETS = 200
FEWEST = 40  # requests of each side, below which nothing can be said
MORE_ERRORS = 0.01  # how much larger the canary's share of failed requests may be
SLOWER = 2.0  # how many times the stable side's p95 the canary's may be ...
SLOWER_MS = 25.0  # ... and how much more it has to be: below that nobody notices
_COUNT = re.compile(r'^retail_api_requests_total\{route="/predict(?:/batch)?",status="(\d+)"\} (\S+)$', re.MULTILINE)
_STARTED = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counts:
    """What a process counted since it started: users' requests and ours."""

    started: float
    requests: float
    errors: float


def counts(text: str) -> Counts:
    """From the answer of /metrics. `started` is 0 where the process cannot know it (macOS)."""
    started = _STARTED.search(text)
    found = [(status, float(value)) for status, value in _COUNT.findall(text)]
    errors = sum(value for status, value in found if status.startswith("5"))
    return Counts(float(started[1]) if started else 0.0, sum(value for _, value in found), errors)


@dataclass
class Side:
    """One of the two that are compared. Its connection may move to another process, whose earlier counts are not ours:
    `moved` says that it did, which of the canary's only pod means that it restarted."""

    client: Client
    now: Counts | None = None
    answered: int = 0
    errors: int = 0
    unanswered: int = 0
    moved: bool = False
    milliseconds: list[float] = field(default_factory=list)

    def ask(self, basket: dict[str, Any]) -> None:
        began = time.perf_counter()
        try:
            self.client.call("POST", "/predict", basket)
        except (OSError, http.client.HTTPException, ValueError):
            self.unanswered += 1
            return
        self.milliseconds.append((time.perf_counter() - began) * 1000)

    def look(self) -> None:
        """Adds what the side has counted since the last look; a side that does not answer has answered nothing more."""
        try:
            found = counts(self.client.text("/metrics"))
        except (OSError, http.client.HTTPException):
            self.unanswered += 1
            return
        before, self.now = self.now, found
        if before is None:
            return
        if before.started != found.started or found.requests < before.requests:
            self.moved = True
            return
        self.answered += int(found.requests - before.requests)
        self.errors += int(found.errors - before.errors)

    @property
    def requests(self) -> int:
        return self.answered + self.unanswered

    @property
    def error_rate(self) -> float:
        return (self.errors + self.unanswered) / self.requests if self.requests else 0.0

    @property
    def p95(self) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[int(len(ordered) * 0.95)] if ordered else float("inf")

    def summary(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "error_rate": round(self.error_rate, 4),
            "p95_ms": round(self.p95, 2) if self.milliseconds else None,
            "moved": self.moved,
        }


def judge(canary: Side, stable: Side) -> list[str]:
    """In what the canary is worse; empty when it is not."""
    worse = []
    if canary.moved:
        worse.append("the canary restarted")
    if canary.error_rate > stable.error_rate + MORE_ERRORS:
        worse.append(f"{canary.error_rate:.1%} of its requests failed, {stable.error_rate:.1%} of the stable pods'")
    if stable.milliseconds and canary.p95 > max(SLOWER * stable.p95, stable.p95 + SLOWER_MS):
        worse.append(f"its p95 is {canary.p95:.1f} ms, the stable pods' {stable.p95:.1f} ms")
    return worse


def watch(
    canary: Side, stable: Side, baskets: list[dict[str, Any]], seconds: float, report: Callable[..., None]
) -> list[str]:
    """Watches for `seconds`, or until the canary is clearly worse; in what it is. CannotTell with too few requests."""
    sides: Iterator[tuple[Side, Side]] = itertools.cycle([(canary, stable), (stable, canary)])
    began = time.monotonic()
    canary.look()
    stable.look()
    next_report = seconds / REPORTS
    for number, pair in enumerate(sides):
        for side in pair:
            side.ask(baskets[number % len(baskets)])
        passed = time.monotonic() - began
        if passed >= min(next_report, seconds):
            next_report += seconds / REPORTS
            canary.look()
            stable.look()
            report(second=round(passed), canary=canary.summary(), stable=stable.summary())
            enough = min(canary.requests, stable.requests) >= FEWEST
            if passed >= seconds or (enough and judge(canary, stable)):
                break
        time.sleep(max(0.0, began + (number + 1) / PAIRS_PER_SECOND - time.monotonic()))
    if min(canary.requests, stable.requests) < FEWEST:
        raise CannotTell(f"{canary.requests} and {stable.requests} requests say nothing: {FEWEST} of each are needed")
    return judge(canary, stable)


def _say(event: str = "bake", **facts: Any) -> None:
    print(json.dumps({"event": event, **facts}), flush=True)


def main(environment: Mapping[str, str] = os.environ) -> int:
    try:
        wanted = ("BAKE_CANARY", "BAKE_STABLE", "BAKE_SECONDS", "VERIFY_BASKETS")
        if missing := [name for name in wanted if not environment.get(name)]:
            raise CannotTell(f"{' and '.join(missing)} must be set")
        key, region = environment.get("API_KEY"), environment.get("AWS_REGION", "ap-southeast-1")
        samples = read_baskets(environment["VERIFY_BASKETS"], BASKETS, region)
        canary, stable = (Side(Client(environment[name], key)) for name in ("BAKE_CANARY", "BAKE_STABLE"))
        for side in (canary, stable):
            wait_until_ready(side.client, PATIENCE_SECONDS)
        baskets, seconds = [sample["request"] for sample in samples], float(environment["BAKE_SECONDS"])
        worse = watch(canary, stable, baskets, seconds, _say)
    except (ApiError, ValueError) as error:
        _say(result="cannot tell", reason=str(error))
        return 2
    verdict = {"result": "failed", "reason": "; ".join(worse)} if worse else {"result": "passed"}
    _say(**verdict, canary=canary.summary(), stable=stable.summary())
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
