"""Which release a rollback goes to, and from where a release gets its bundle."""

import hashlib
import io
import tarfile
from contextlib import nullcontext
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException

from include.settings import API_NAME
from retail_mlops.common.api_manifests import CANARY
from retail_mlops.common.errors import RetailError
from retail_mlops.common.releases import FAILED, RELEASED, ROLLED_BACK, Release, release_record
from retail_mlops.release import bundle
from retail_mlops.release import tasks as deploy
from retail_mlops.release.selection import rollback_target

ONE = Release("v1-a", "arn/1", 1, "digest-1", "image-1", "s3://b/m", "s3://b/e")
TWO = replace(ONE, id="v2-b", version=2, bundle_digest="digest-2", previous="v1-a")
AGAIN = replace(TWO, id="v2-c", previous="v2-b")
BROKEN = replace(TWO, id="v2-d", image="image-2", previous="v2-c")
RECORDS = [
    release_record(ONE, RELEASED, "2026-01-01T08:00", "deploy/1"),
    release_record(TWO, RELEASED, "2026-01-02T08:00", "deploy/2"),
    release_record(AGAIN, RELEASED, "2026-01-03T08:00", "deploy/3"),
    release_record(BROKEN, FAILED, "2026-01-04T08:00", "deploy/4"),
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


# --- stage ---
def packed(manifest):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return made.getvalue()


APPROVED = hashlib.sha256(b"approved").hexdigest()
EARLIER = replace(ONE, bundle_digest=APPROVED)
NOW = replace(EARLIER, id="v1-z", source_url="s3://b/training/m", evidence_url="s3://b/evaluation/e.json")
TRAINED, HELD_OUT = "training/m", "evaluation/held_out.jsonl"


@pytest.fixture
def stage():
    """Stages NOW from these objects; what it wrote, by key."""

    def run(objects):
        written = {}
        lake = SimpleNamespace(
            content=objects.get,
            documents=lambda _prefix: [release_record(EARLIER, RELEASED, "2026-01-01T08:00", "deploy/1")],
            put=lambda key, content, **_: written.update({key: content}),
        )
        bundle.stage(lake, NOW)
        return written

    return run


def test_release_gets_its_own_copy_of_what_training_left(stage):
    bundle = packed(b"approved")
    written = stage({TRAINED: bundle, HELD_OUT: b"{}"})
    assert written == {NOW.model_key: bundle, NOW.held_out_key: b"{}"}


def test_what_training_left_and_is_archived_comes_from_an_earlier_release_of_the_bundle(stage):
    bundle = packed(b"approved")
    written = stage({EARLIER.model_key: bundle, EARLIER.held_out_key: b"{}"})
    assert written == {NOW.model_key: bundle, NOW.held_out_key: b"{}"}


def test_bundle_that_nobody_approved_is_refused_wherever_it_lies(stage):
    for key in (TRAINED, EARLIER.model_key):
        with pytest.raises(RetailError, match=f"/{key} holds bundle .* was approved: refused"):
            stage({key: packed(b"another"), HELD_OUT: b"{}"})


def test_bundle_that_is_nowhere_names_the_places(stage):
    with pytest.raises(RetailError, match=rf"{TRAINED}, .*{EARLIER.model_key}: gone, or in an archive"):
        stage({HELD_OUT: b"{}"})


# --- roll_back ---
class StuckCluster:
    """Runs TWO with its canary, whose pod does not end; `done` are the calls, in order."""

    def __init__(self):
        self.done = []

    def deployment(self, name):
        return {"metadata": {"name": name, "annotations": TWO.annotations()}}

    def label_pods(self, deployment, labels):
        self.done.append(("label", deployment["metadata"]["name"], labels))

    def apply(self, manifests):
        images = [
            one["spec"]["template"]["spec"]["containers"][0]["image"]
            for one in manifests
            if one["kind"] == "Deployment"
        ]
        self.done.append(("apply", *images))

    def wait_for_rollout(self, name, **_):
        self.done.append(("wait", name))

    def delete_deployment(self, name):
        self.done.append(("delete", name))
        raise AirflowException(f"Deployment {name} still exists")


def test_release_before_is_back_before_the_canary_has_gone_which_may_be_never(monkeypatch):
    cluster, kept = StuckCluster(), {}
    before = replace(ONE, image="123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/retail-api@sha256:" + "a" * 64)
    lake = SimpleNamespace(
        document=lambda _key: release_record(before, RELEASED, "2026-01-01T08:00", "deploy/1"),
        put_document=lambda key, document: kept.update({key: document}),
    )
    ti = SimpleNamespace(dag_id="deploy", run_id="2", get_task_states=lambda **_: {"2": {"verify": "failed"}})
    ti.xcom_pull = lambda task_ids, key: asdict(TWO) if task_ids == "choose_release" else None
    monkeypatch.setattr(deploy, "ClusterHook", lambda: SimpleNamespace(login=lambda: nullcontext(cluster)))
    monkeypatch.setattr(deploy, "LakeHook", lambda: lake)
    monkeypatch.setattr(deploy, "get_current_context", lambda: {"ti": ti})
    deploy.roll_back()

    assert cluster.done == [
        ("label", CANARY, {"retail-mlops/in-service": None}),
        ("apply", before.image),
        ("wait", API_NAME),
        ("delete", CANARY),
    ]
    [document] = kept.values()
    assert (document["outcome"], document["reason"]) == (ROLLED_BACK, "verify failed; rolled back to v1-a")
