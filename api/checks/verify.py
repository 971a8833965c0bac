"""`python -m api.checks.verify`: replay held-out baskets against a running API, compare with the bundle's own scores.

Reads VERIFY_URL (http://host:port) and VERIFY_BASKETS (s3://... or a path: JSON lines {"request", "label", "expected":
{"prediction", "probability"}}), optionally API_KEY, VERIFY_MODEL_VERSION (every answer must come from it) and
VERIFY_LIMIT. Exits 0 when every answer is the expected one, 1 when one is not, 2 when it cannot tell; says why.
"""

import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from api.errors import ApiError
from api.model.aws import Aws

TOLERANCE = 1e-6  # of a probability: the same arithmetic on both sides
PATIENCE_SECONDS = 60  # a Service follows its new pods late
DEFAULT_LIMIT = 500
SHOWN = 5
BASKETS_A_CONNECTION = 20  # a Service leads each new connection to some pod: all of them should be asked


class CannotTell(ApiError):
    """The check itself could not be made: settings, baskets, or no answer at all."""


@dataclass
class Result:
    checked: int = 0
    right_labels: int = 0
    labelled: int = 0
    wrong: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.milliseconds)
        return {
            "checked": self.checked,
            "wrong": len(self.wrong),
            "examples": self.wrong[:SHOWN],
            "accuracy": round(self.right_labels / self.labelled, 4) if self.labelled else None,
            "p50_ms": round(ordered[len(ordered) // 2], 2),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)], 2),
        }


def read_baskets(source: str, limit: int, region: str = "ap-southeast-1") -> list[dict[str, Any]]:
    """The first `limit` held-out baskets. CannotTell names the line that is not one, or an empty file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(source)
        if source.startswith("s3://"):
            path = Path(folder) / "held_out.jsonl"
            Aws(region).fetch(source, path)
        try:
            lines = [line for line in path.read_text().splitlines() if line.strip()][:limit]
        except (OSError, UnicodeDecodeError) as error:
            raise CannotTell(f"{source} cannot be read: {error}") from error
    return list(_parsed(lines, source))


def _parsed(lines: list[str], source: str) -> Iterator[dict[str, Any]]:
    if not lines:
        raise CannotTell(f"{source} holds no basket: a check without samples says nothing")
    for number, line in enumerate(lines, 1):
        try:
            sample = json.loads(line)
            sample["request"], sample["expected"]["prediction"], sample["expected"]["probability"]
        except (ValueError, KeyError, TypeError) as error:
            raise CannotTell(f"{source}:{number} is not a held-out basket ({error!r})") from error
        yield sample


class Client:
    """Requests to one base URL over a kept connection; opened anew when the server closes it."""

    def __init__(self, url: str, key: str | None) -> None:
        where = urlsplit(url)
        if where.scheme != "http" or not where.hostname:
            raise CannotTell(f"VERIFY_URL {url!r} is not http://host:port")
        self._connection = http.client.HTTPConnection(where.hostname, where.port or 80, timeout=10)
        self._headers = {"Content-Type": "application/json"} | ({"X-API-Key": key.split()[0]} if key else {})

    def call(self, method: str, path: str, document: Any = None) -> tuple[int, dict[str, Any], str]:
        """Status, JSON answer, model version; OSError or HTTPException when there is no answer."""
        content = None if document is None else json.dumps(document).encode()
        reply, answer = self._send(method, path, content)
        return reply.status, json.loads(answer), reply.headers.get("X-Model-Version", "")

    def text(self, path: str) -> str:
        """A page's text; CannotTell when it is refused, OSError or HTTPException when there is no answer."""
        reply, answer = self._send("GET", path, None)
        if reply.status != 200:
            raise CannotTell(f"GET {path}: {reply.status}")
        return answer.decode()

    def close(self) -> None:
        """The next request opens a new connection."""
        self._connection.close()

    def _send(self, method: str, path: str, content: bytes | None) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            self._connection.request(method, path, content, self._headers)
            reply = self._connection.getresponse()
            return reply, reply.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise


def wait_until_ready(client: Client, seconds: float, pause: Callable[[float], None] = time.sleep) -> None:
    """CannotTell, with the last reason, if /ready does not answer 200 in time."""
    deadline, reason = time.monotonic() + seconds, "no answer"
    while True:
        try:
            status, answer, _ = client.call("GET", "/ready")
            if status == 200:
                return
            reason = f"{status}: {answer.get('reason', answer)}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = repr(error)
        if time.monotonic() >= deadline:
            raise CannotTell(f"the API was not ready within {seconds:.0f} s ({reason})")
        pause(0.5)


def compare(answer: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """What differs between an answer and the bundle's own score; None when nothing does."""
    if answer.get("prediction") != expected["prediction"]:
        return f"prediction is {answer.get('prediction')!r}, the bundle says {expected['prediction']!r}"
    for label, value in expected["probability"].items():
        given = answer.get("probability", {}).get(label)
        if given is None or abs(given - value) > TOLERANCE:
            return f"probability of {label} is {given}, the bundle says {value}"
    return None


def replay(client: Client, samples: list[dict[str, Any]], version: str | None = None) -> Result:
    """Every sample as a single request, then all of them (up to 1000) as one batch."""
    result = Result()
    for number, sample in enumerate(samples, 1):
        if number % BASKETS_A_CONNECTION == 0:
            client.close()
        began = time.perf_counter()
        status, answer, served = client.call("POST", "/predict", sample["request"])
        result.milliseconds.append((time.perf_counter() - began) * 1000)
        _judge(result, f"basket {number}", status, answer, sample)
        if version and served != version:
            result.wrong.append(f"basket {number}: answered by model version {served}, not {version}")
        if sample.get("label"):
            result.labelled += 1
            result.right_labels += answer.get("prediction") == sample["label"]
    samples = samples[:1000]
    status, answer, _ = client.call("POST", "/predict/batch", {"baskets": [sample["request"] for sample in samples]})
    answers = answer.get("predictions", [])
    if status != 200 or len(answers) != len(samples):
        result.wrong.append(f"batch of {len(samples)}: status {status}, {len(answers)} predictions")
    for number, (one, sample) in enumerate(zip(answers, samples, strict=False), 1):
        _judge(result, f"basket {number} of the batch", status, one, sample)
    return result


def _judge(result: Result, name: str, status: int, answer: dict[str, Any], sample: dict[str, Any]) -> None:
    result.checked += 1
    difference = compare(answer, sample["expected"]) if status == 200 else f"status {status}: {answer}"
    if difference:
        result.wrong.append(f"{name}: {difference}")


def main(environment: Mapping[str, str] = os.environ) -> int:
    try:
        missing = [name for name in ("VERIFY_URL", "VERIFY_BASKETS") if not environment.get(name)]
        if missing:
            raise CannotTell(f"{' and '.join(missing)} must be set")
        limit = environment.get("VERIFY_LIMIT", str(DEFAULT_LIMIT))
        if not limit.isdigit() or not int(limit):
            raise CannotTell(f"VERIFY_LIMIT={limit} is not a positive number")
        client = Client(environment["VERIFY_URL"], environment.get("API_KEY"))
        samples = read_baskets(
            environment["VERIFY_BASKETS"], int(limit), environment.get("AWS_REGION", "ap-southeast-1")
        )
        wait_until_ready(client, PATIENCE_SECONDS)
        result = replay(client, samples, environment.get("VERIFY_MODEL_VERSION"))
    except (ApiError, OSError, http.client.HTTPException, ValueError) as error:
        print(json.dumps({"event": "verification", "result": "cannot tell", "reason": str(error) or repr(error)}))
        return 2
    verdict = "failed" if result.wrong else "passed"
    print(json.dumps({"event": "verification", "result": verdict, **result.summary()}))
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
