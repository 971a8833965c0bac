"""A release knows its copy of the bundle and what runs; its records say which release to go back to."""

import pytest

from retail_mlops.common.releases import (
    FAILED,
    RELEASED,
    ROLLED_BACK,
    Release,
    newest_released,
    release_record,
    releases_of_bundle,
)
from tests.plugins.releases import IMAGE, RELEASE


def test_held_out_baskets_lie_beside_the_evidence():
    assert RELEASE.held_out_source == "s3://bucket/artifacts/evaluation/e/held_out.jsonl"


@pytest.mark.parametrize("live", [None, {"metadata": {}}, {"metadata": {"annotations": {"retail-mlops/image": IMAGE}}}])
def test_other_deployment_is_not_this_release(live):
    assert not RELEASE.runs_as(live)
    assert not RELEASE.is_live(live)


def kept(identity, outcome, at):
    return release_record(Release(**{**RELEASE.__dict__, "id": identity}), outcome, at, run="deploy/r")


def test_release_to_go_back_to_is_the_newest_good_one():
    records = [
        kept("a", RELEASED, "2026-01-01T00:00:00+00:00"),
        kept("b", RELEASED, "2026-01-02T00:00:00+00:00"),
        kept("c", ROLLED_BACK, "2026-01-03T00:00:00+00:00"),
        kept("d", FAILED, "2026-01-04T00:00:00+00:00"),
    ]
    assert newest_released(records).id == "b"


def test_without_a_good_release_there_is_none():
    assert newest_released([kept("c", ROLLED_BACK, "2026-01-03")]) is None


def test_copies_of_a_bundle_are_those_of_good_releases_newest_first():
    records = [
        kept("a", RELEASED, "2026-01-01T00:00:00+00:00"),
        kept("b", RELEASED, "2026-01-02T00:00:00+00:00"),
        kept("c", FAILED, "2026-01-03T00:00:00+00:00"),
    ]
    assert [release.id for release in releases_of_bundle(records, RELEASE.bundle_digest)] == ["b", "a"]
    assert releases_of_bundle(records, "another") == []
