"""What train learns from, when it has nothing to learn, and what it keeps of a decision."""

import hashlib
import json

import pytest

from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.model_registry import ModelPackage
from retail_mlops.operators.approval import Answer
from retail_mlops.training import tasks as training
from retail_mlops.training.tasks import (
    channel_keys,
    chosen_weeks,
    decision_text,
    gold_digest_of,
    hyperparameter_digest,
    nothing_new,
)

WEEKS = ["200607", "200608"]


def test_all_weeks_with_gold_are_the_default():
    assert chosen_weeks(["200608", "200607"], None) == WEEKS


def test_weeks_asked_for_are_taken():
    assert chosen_weeks(WEEKS, ["200608", "200608"]) == ["200608"]


def test_weeks_without_gold_are_refused_by_name():
    with pytest.raises(RetailError, match="no gold for 200609"):
        chosen_weeks(WEEKS, ["200607", "200609"])


def test_empty_lake_says_what_to_do():
    with pytest.raises(RetailError, match="run etl"):
        chosen_weeks([], None)


def test_digest_of_gold_does_not_depend_on_order_but_on_content():
    one = gold_digest_of({"200607": b"a", "200608": b"b"})
    assert one == gold_digest_of({"200608": b"b", "200607": b"a"})
    assert one != gold_digest_of({"200607": b"b", "200608": b"a"})
    assert one != gold_digest_of({"200607": b"a"})


def test_channels_hold_every_week():
    keys = channel_keys(WEEKS)
    assert set(keys) == set(training.CHANNELS)
    assert all(len(listed) == 2 for listed in keys.values())


def package(gold="g", hyperparameters=None, **more):
    metadata = {"gold_digest": gold, "hyperparameters": hyperparameter_digest(hyperparameters or {}), **more}
    return ModelPackage("arn:m/1", 1, "Rejected", "s3://b/m.tar.gz", "i", metadata, "")


def test_same_gold_is_not_learnt_twice():
    assert nothing_new(package(), "g", {})


@pytest.mark.parametrize(
    ("newest", "gold", "hyperparameters"), [(None, "g", {}), (package(), "h", {}), (package(), "g", {"trees": 9})]
)
def test_other_gold_or_other_hyperparameters_are(newest, gold, hyperparameters):
    assert not nothing_new(newest, gold, hyperparameters)


def answer(choice="Approve", by="ann", reason=""):
    return Answer(choice=choice, by=by, at="2026-01-01T00:00:00+00:00", reason=reason)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (answer(), "Approved by ann at 2026-01-01T00:00:00+00:00 (evidence SHA-256 d)"),
        (
            answer("Reject", reason="drifts "),
            "Rejected by ann at 2026-01-01T00:00:00+00:00: drifts (evidence SHA-256 d)",
        ),
        (
            answer("Reject", by=None),
            "Rejected because nobody answered within 5 minutes at 2026-01-01T00:00:00+00:00 (evidence SHA-256 d)",
        ),
    ],
)
def test_decision_says_who_when_why_on_which_evidence(given, text):
    assert decision_text(given, minutes=5, evidence_digest="d") == text


EVIDENCE = json.dumps({"test": {}}).encode()


@pytest.fixture
def decided(monkeypatch):
    made = []
    monkeypatch.setattr(training, "LakeHook", type("Lake", (), {"content": lambda _self, _key: EVIDENCE}))
    registry = type("Registry", (), {"decide": lambda _self, *call: made.append(call)})
    monkeypatch.setattr(training, "RegistryHook", registry)
    return made


def registered(digest):
    return package(evidence="s3://mlops-retail-prediction-dev-123456789012/e.json", evidence_digest=digest).__dict__


@pytest.mark.parametrize(("choice", "status"), [("Approve", "Approved"), ("Reject", "Rejected")])
def test_both_answers_are_written_to_the_registry(decided, choice, status):
    digest = hashlib.sha256(EVIDENCE).hexdigest()

    goes_on = training.set_status(registered(digest), answer(choice).__dict__, {"approval_timeout": 5})

    assert goes_on is (choice == "Approve")
    assert [(arn, written) for arn, written, _ in decided] == [("arn:m/1", status)]


def test_evidence_that_was_changed_is_not_approved(decided):
    with pytest.raises(RetailError, match="was changed after"):
        training.set_status(registered("0" * 64), answer().__dict__, {"approval_timeout": 5})
    assert decided == []
