"""Replay held-out baskets against a running API and compare the answers: `python -m api.checks.verify`.

Reads VERIFY_URL (http://host:port) and VERIFY_BASKETS (s3:// URL or path, see held_out.py); optionally API_KEY,
VERIFY_MODEL_VERSION (every answer must come from it) and VERIFY_LIMIT (how many baskets). Prints one JSON line.
Exits 0 when every answer is the expected one, 1 when one is not, 2 when the check could not be made, with the reason.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from api.checks.client import NO_ANSWER, READY_TIMEOUT_SECONDS, Client, Inconclusive, wait_until_ready
from api.checks.held_out import DEFAULT_REGION, read_baskets
from api.errors import ApiError

TOLERANCE = 1e-6
"""Of a probability: both sides compute it in the same way."""
DEFAULT_LIMIT = 500
MAX_BATCH = 1000
MAX_EXAMPLES = 5
BASKETS_PER_CONNECTION = 20
"""A Service routes each new connection to some pod, so several connections reach all pods."""


@dataclass
class Result:
    """What was checked, and what is wrong with it."""

    checked: int = 0
    right_labels: int = 0
    labelled: int = 0
    wrong: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the figures for the log line."""
        ordered = sorted(self.milliseconds)
        return {
            "checked": self.checked,
            "wrong": len(self.wrong),
            "examples": self.wrong[:MAX_EXAMPLES],
            "accuracy": round(self.right_labels / self.labelled, 4) if self.labelled else None,
            "p50_ms": round(ordered[len(ordered) // 2], 2),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)], 2),
        }

    def check(self, name: str, status: int, answer: dict[str, Any], sample: dict[str, Any]) -> None:
        """Count an answer, and note how it differs from the expected one."""
        self.checked += 1
        difference = compare(answer, sample["expected"]) if status == 200 else f"status {status}: {answer}"
        if difference:
            self.wrong.append(f"{name}: {difference}")


def compare(answer: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """Return how an answer differs from the one that the bundle gave itself; None when it does not."""
    if answer.get("prediction") != expected["prediction"]:
        return f"prediction is {answer.get('prediction')!r} instead of {expected['prediction']!r}"
    for label, value in expected["probability"].items():
        actual = answer.get("probability", {}).get(label)
        if actual is None or abs(actual - value) > TOLERANCE:
            return f"probability of {label} is {actual} instead of {value}"
    return None


def replay(client: Client, samples: list[dict[str, Any]], version: str | None = None) -> Result:
    """Send every basket alone, then up to MAX_BATCH of them as one batch, and check the answers."""
    result = Result()
    for number, sample in enumerate(samples, 1):
        if number % BASKETS_PER_CONNECTION == 0:
            client.close()
        _replay_single(client, result, f"basket {number}", sample, version)
    _replay_batch(client, result, samples[:MAX_BATCH])
    return result


def _replay_single(client: Client, result: Result, name: str, sample: dict[str, Any], version: str | None) -> None:
    began = time.perf_counter()
    status, answer, served_version = client.call("POST", "/predict", sample["request"])
    result.milliseconds.append((time.perf_counter() - began) * 1000)
    result.check(name, status, answer, sample)
    if version and served_version != version:
        result.wrong.append(f"{name}: answered by model version {served_version} instead of {version}")
    if sample.get("label"):
        result.labelled += 1
        result.right_labels += answer.get("prediction") == sample["label"]


def _replay_batch(client: Client, result: Result, samples: list[dict[str, Any]]) -> None:
    status, document, _ = client.call("POST", "/predict/batch", {"baskets": [sample["request"] for sample in samples]})
    answers = document.get("predictions", [])
    if status != 200 or len(answers) != len(samples):
        result.wrong.append(f"batch of {len(samples)}: status {status}, {len(answers)} predictions")
    for number, (answer, sample) in enumerate(zip(answers, samples, strict=False), 1):
        result.check(f"basket {number} of the batch", status, answer, sample)


@dataclass(frozen=True)
class Settings:
    """The settings of a verification, from environment variables."""

    url: str
    baskets: str
    limit: int
    key: str | None
    version: str | None
    region: str

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Raise Inconclusive, which names the variable, when one is missing or invalid."""
        missing = [name for name in ("VERIFY_URL", "VERIFY_BASKETS") if not environment.get(name)]
        if missing:
            raise Inconclusive(f"{' and '.join(missing)} must be set")
        limit = environment.get("VERIFY_LIMIT", str(DEFAULT_LIMIT))
        if not limit.isdigit() or not int(limit):
            raise Inconclusive(f"VERIFY_LIMIT={limit} is not a positive integer")
        return cls(
            url=environment["VERIFY_URL"],
            baskets=environment["VERIFY_BASKETS"],
            limit=int(limit),
            key=environment.get("API_KEY"),
            version=environment.get("VERIFY_MODEL_VERSION"),
            region=environment.get("AWS_REGION", DEFAULT_REGION),
        )


def main(environment: Mapping[str, str] = os.environ, timeout: float = READY_TIMEOUT_SECONDS) -> int:
    """Verify, print one JSON line and return the exit code. timeout: seconds to wait until the API is ready."""
    try:
        settings = Settings.read(environment)
        client = Client(settings.url, settings.key)
        samples = read_baskets(settings.baskets, settings.limit, settings.region)
        wait_until_ready(client, timeout)
        result = replay(client, samples, settings.version)
    except (ApiError, *NO_ANSWER, ValueError) as error:
        _report(result="cannot tell", reason=str(error) or repr(error))
        return 2
    _report(result="failed" if result.wrong else "passed", **result.summary())
    return 1 if result.wrong else 0


def _report(**fields: Any) -> None:
    print(json.dumps({"event": "verification", **fields}))


if __name__ == "__main__":
    sys.exit(main())
