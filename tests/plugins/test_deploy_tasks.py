"""Which release a rollback goes to."""

from dataclasses import replace

import pytest

from retail_mlops.errors import RetailError
from retail_mlops.releases import FAILED, RELEASED, Release, record
from retail_mlops.tasks.deploy import rollback_target

ONE = Release("v1-a", "arn/1", 1, "digest-1", "image-1", "s3://b/m", "s3://b/e")
TWO = replace(ONE, id="v2-b", version=2, bundle_digest="digest-2", previous="v1-a")
AGAIN = replace(TWO, id="v2-c", previous="v2-b")
BROKEN = replace(TWO, id="v2-d", image="image-2", previous="v2-c")
RECORDS = [
    record(ONE, RELEASED, "2026-01-01T08:00", "deploy/1"),
    record(TWO, RELEASED, "2026-01-02T08:00", "deploy/2"),
    record(AGAIN, RELEASED, "2026-01-03T08:00", "deploy/3"),
    record(BROKEN, FAILED, "2026-01-04T08:00", "deploy/4"),
]


def test_previous_is_the_release_before():
    assert rollback_target("previous", TWO, RECORDS) == ONE


def test_previous_passes_over_the_same_model_in_the_same_image():
    assert rollback_target("previous", AGAIN, RECORDS) == ONE


def test_release_is_found_by_its_id():
    assert rollback_target("v2-b", AGAIN, RECORDS) == TWO


@pytest.mark.parametrize(
    ("wanted", "running"), [("previous", None), ("previous", ONE), ("v2-d", AGAIN), ("v9-z", AGAIN)]
)
def test_what_never_ran_well_is_refused_with_what_did_newest_first(wanted, running):
    with pytest.raises(RetailError, match=r"v2-c \(version 2, 2026-01-03T08:00\), v2-b .*, v1-a "):
        rollback_target(wanted, running, RECORDS)
