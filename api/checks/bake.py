"""Compare a canary with the stable pods under the users' traffic and its own: `python -m api.checks.bake`.

Reads BAKE_CANARY and BAKE_STABLE (http://host:port), BAKE_SECONDS and VERIFY_BASKETS (see held_out.py); optionally
API_KEY. Sends the same basket to both sides, over one kept connection each, and reads each side's request counts before
and after from /metrics. Prints JSON lines with intermediate results.
Exits 0 when the canary is not worse, 1 when it is, 2 when that could not be determined, each with the reason.
"""

import itertools
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.checks.client import NO_ANSWER, READY_TIMEOUT_SECONDS, Client, Inconclusive, wait_until_ready
from api.checks.held_out import DEFAULT_REGION, read_baskets
from api.errors import ApiError

PAIRS_PER_SECOND = 20
REPORTS = 6
MAX_BASKETS = 200
MIN_REQUESTS = 40
"""Of each side; fewer do not allow a comparison."""
MAX_ERROR_RATE_DIFFERENCE = 0.01
"""How much higher the canary's share of failed requests may be."""
MAX_P95_RATIO = 2.0
"""The canary is slow when its p95 exceeds the stable side's p95 by this factor ..."""
MIN_P95_DIFFERENCE_MS = 25.0
"""... and by this many milliseconds, because users do not notice less."""
SETTINGS = ("BAKE_CANARY", "BAKE_STABLE", "BAKE_SECONDS", "VERIFY_BASKETS")
_COUNT = re.compile(r'^retail_api_requests_total\{route="/predict(?:/batch)?",status="(\d+)"\} (\S+)$', re.MULTILINE)
_STARTED = re.compile(r"^process_start_time_seconds (\S+)$", re.MULTILINE)

Basket = dict[str, Any]
"""The JSON body of a prediction request."""


@dataclass(frozen=True)
class Counts:
    """The prediction requests of a process since its start, those of users and those of this program.

    started: when, in seconds since the epoch; 0 where the process cannot know it (macOS).
    """

    started: float
    requests: float
    errors: float


def parse_counts(metrics: str) -> Counts:
    """Return the counts in the text of /metrics."""
    started = _STARTED.search(metrics)
    by_status = [(status, float(value)) for status, value in _COUNT.findall(metrics)]
    return Counts(
        started=float(started[1]) if started else 0.0,
        requests=sum(value for _, value in by_status),
        errors=sum(value for status, value in by_status if status.startswith("5")),
    )


@dataclass
class Side:
    """The canary or the stable pods.

    moved: the connection went to another process, whose earlier counts do not belong to this bake. For a canary with
    its single pod that means a restart.
    """

    client: Client
    last_counts: Counts | None = None
    answered: int = 0
    errors: int = 0
    unanswered: int = 0
    moved: bool = False
    milliseconds: list[float] = field(default_factory=list)

    def send(self, basket: Basket) -> None:
        """Send a basket and note how long the answer took."""
        began = time.perf_counter()
        try:
            self.client.call("POST", "/predict", basket)
        except (*NO_ANSWER, ValueError):
            self.unanswered += 1
            return
        self.milliseconds.append((time.perf_counter() - began) * 1000)

    def read_counts(self) -> None:
        """Add what the side has counted since the last call. No answer counts as one unanswered request."""
        try:
            counts = parse_counts(self.client.text("/metrics"))
        except NO_ANSWER:
            self.unanswered += 1
            return
        before, self.last_counts = self.last_counts, counts
        if before is None:
            return
        if before.started != counts.started or counts.requests < before.requests:
            self.moved = True
            return
        self.answered += int(counts.requests - before.requests)
        self.errors += int(counts.errors - before.errors)

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
        """Return the figures for a log line."""
        return {
            "requests": self.requests,
            "error_rate": round(self.error_rate, 4),
            "p95_ms": round(self.p95, 2) if self.milliseconds else None,
            "moved": self.moved,
        }


def regressions(canary: Side, stable: Side) -> list[str]:
    """Return in which respects the canary is worse; an empty list when it is not."""
    reasons = []
    if canary.moved:
        reasons.append("the canary restarted")
    if canary.error_rate > stable.error_rate + MAX_ERROR_RATE_DIFFERENCE:
        reasons.append(
            f"{canary.error_rate:.1%} of the canary's requests failed, {stable.error_rate:.1%} of the stable pods'"
        )
    if stable.milliseconds and canary.p95 > max(MAX_P95_RATIO * stable.p95, stable.p95 + MIN_P95_DIFFERENCE_MS):
        reasons.append(f"the canary's p95 is {canary.p95:.1f} ms, the stable pods' {stable.p95:.1f} ms")
    return reasons


def bake(canary: Side, stable: Side, baskets: list[Basket], seconds: float, report: Callable[..., None]) -> list[str]:
    """Compare both sides for `seconds`, or until the canary is clearly worse, and return the regressions.

    Raise Inconclusive when a side had fewer than MIN_REQUESTS.
    """
    began = time.monotonic()
    canary.read_counts()
    stable.read_counts()
    next_report = seconds / REPORTS
    for number in itertools.count():
        pair = (stable, canary) if number % 2 else (canary, stable)
        for side in pair:
            side.send(baskets[number % len(baskets)])
        elapsed = time.monotonic() - began
        if elapsed >= min(next_report, seconds):
            next_report += seconds / REPORTS
            canary.read_counts()
            stable.read_counts()
            report(second=round(elapsed), canary=canary.summary(), stable=stable.summary())
            if elapsed >= seconds or (_enough(canary, stable) and regressions(canary, stable)):
                break
        time.sleep(max(0.0, began + (number + 1) / PAIRS_PER_SECOND - time.monotonic()))
    if not _enough(canary, stable):
        raise Inconclusive(
            f"too few requests: the canary had {canary.requests} and the stable pods {stable.requests}, a comparison "
            f"needs {MIN_REQUESTS} of each. Run DAG deploy again with larger bake_seconds"
        )
    return regressions(canary, stable)


def _enough(canary: Side, stable: Side) -> bool:
    return min(canary.requests, stable.requests) >= MIN_REQUESTS


def _report(event: str = "bake", **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Bake, print JSON lines and return the exit code."""
    try:
        missing = [name for name in SETTINGS if not environment.get(name)]
        if missing:
            raise Inconclusive(f"{' and '.join(missing)} must be set")
        region = environment.get("AWS_REGION", DEFAULT_REGION)
        samples = read_baskets(environment["VERIFY_BASKETS"], MAX_BASKETS, region)
        key = environment.get("API_KEY")
        canary = Side(Client(environment["BAKE_CANARY"], key))
        stable = Side(Client(environment["BAKE_STABLE"], key))
        for side in (canary, stable):
            wait_until_ready(side.client, READY_TIMEOUT_SECONDS)
        baskets = [sample["request"] for sample in samples]
        reasons = bake(canary, stable, baskets, float(environment["BAKE_SECONDS"]), _report)
    except (ApiError, ValueError) as error:
        _report(result="cannot tell", reason=str(error))
        return 2
    verdict = {"result": "failed", "reason": "; ".join(reasons)} if reasons else {"result": "passed"}
    _report(**verdict, canary=canary.summary(), stable=stable.summary())
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
