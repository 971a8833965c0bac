"""The record of a release as people read it."""

from retail_mlops.common.releases import FAILED, release_record
from retail_mlops.release.report import report
from tests.plugins.releases import RELEASE
from tests.plugins.text import squeezed


def test_record_is_shown_with_what_its_checks_found():
    side = {"requests": 300, "error_rate": 0.0, "p95_ms": 2.5, "moved": False}
    checks = {
        "verify_canary": {"result": "passed", "checked": 1000, "wrong": 0, "p95_ms": 3.1},
        "bake": {"result": "failed", "reason": "it is slow", "canary": side | {"p95_ms": 90.0}, "stable": side},
    }
    text = report(release_record(RELEASE, FAILED, "2026-01-01", "deploy/r", "bake failed", checks))
    text = squeezed(text)
    assert "| outcome | failed (bake failed) |" in text
    assert "| verify_canary | passed | 1000 answers, 0 wrong, p95 3.1 ms | | |" in text
    slow = "300 requests, 0.00% failed, p95 90.0 ms | 300 requests, 0.00% failed, p95 2.5 ms"
    assert f"| bake | failed | {slow} | it is slow |" in text
