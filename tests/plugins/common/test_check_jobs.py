"""The Jobs that check a release: what they run, against which Service, on which baskets."""

from retail_mlops.common.api_manifests import CANARY
from retail_mlops.common.check_jobs import bake, verification
from tests.plugins.releases import BUCKET, IMAGE, RELEASE


def environment(container):
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def container_of(job):
    return job["spec"]["template"]["spec"]["containers"][0]


def test_verification_replays_the_release_own_baskets():
    job = verification(RELEASE)

    assert job["metadata"]["name"] == "retail-api-verify-v3-0123456789"
    assert container_of(job)["image"] == IMAGE
    assert container_of(job)["command"] == ["python", "-m", "api.checks.verify"]
    told = environment(container_of(job))
    assert told["VERIFY_MODEL_VERSION"] == "3"
    assert told["VERIFY_BASKETS"] == f"s3://{BUCKET}/artifacts/releases/v3-0123456789/held_out.jsonl"
    assert told["VERIFY_URL"] == "http://$(RETAIL_API_STABLE_SERVICE_HOST):$(RETAIL_API_STABLE_SERVICE_PORT)"
    assert job["spec"]["backoffLimit"] == 0


def test_canary_is_verified_where_no_user_is():
    job = verification(RELEASE, CANARY)
    assert job["metadata"]["name"] == "retail-api-verify-canary-v3-0123456789"
    url = "http://$(RETAIL_API_CANARY_SERVICE_HOST):$(RETAIL_API_CANARY_SERVICE_PORT)"
    assert environment(container_of(job))["VERIFY_URL"] == url


def test_bake_compares_the_two_tracks_for_as_long_as_it_is_told():
    job = bake(RELEASE, 120)
    told = environment(container_of(job))
    assert container_of(job)["command"] == ["python", "-m", "api.checks.bake"]
    assert (told["BAKE_SECONDS"], "CANARY" in told["BAKE_CANARY"], "STABLE" in told["BAKE_STABLE"]) == (
        "120",
        True,
        True,
    )
    assert job["spec"]["activeDeadlineSeconds"] == verification(RELEASE)["spec"]["activeDeadlineSeconds"] + 120
