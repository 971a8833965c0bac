"""What the person who decides about a model gets to read."""

import hashlib

import pytest

from retail_mlops.common.errors import RetailError
from retail_mlops.hooks.model_registry import ModelPackage
from retail_mlops.training import tasks as training
from retail_mlops.training.approval_text import markdown
from retail_mlops.training.tasks import Plan
from tests.include.train.evidence import champion, evaluation
from tests.plugins.text import squeezed

GROUP = {"baskets": 40, "accuracy": 0.97, "macro_f1": 0.96}
EVIDENCE = {
    "baskets": 1234,
    "accuracy": 0.98765,
    "accuracy_interval": (0.97, 0.99),
    "champion": champion(accuracy=(-0.001, 0.012)),
    "later_weeks": {
        "training_weeks": ["200607"],
        "weeks": ["200609"],
        "clones_dropped": 3,
        "all_customers": {"group": "all customers", **GROUP},
        "all_customers_interval": (0.95, 0.98),
        "new_customers": {"group": "new customers", **GROUP},
    },
    "gate": {"passed": True, "rules": [{"rule": "accuracy", "passed": True, "detail": "0.98 is above 0.80"}]},
}
PACKAGE = ModelPackage(
    arn="arn:m/3",
    version=3,
    status="PendingManualApproval",
    model_url="s3://b/m.tar.gz",
    image="r/retail-jobs@sha256:1",
    metadata={"evidence": "s3://b/e/evaluation.json", "evidence_digest": "e" * 64, "training_job": "fit-1"},
    description="",
)


def evidence(**changes):
    return markdown(PACKAGE, evaluation(**EVIDENCE | changes), "arn:m/2")


@pytest.mark.parametrize(
    "text",
    [
        "**Version 3**, trained on 2 shop weeks, 200607 to 200609; tested on 1,234 baskets",
        "| accuracy | 0.9877 | 0.9700 to 0.9900 | 0.800 |",
        "| macro F1 | 0.9700 | 0.9500 to 0.9800 | 0.700 |",
        "- passed `accuracy`: 0.98 is above 0.80",
        "`arn:m/2`, scored on the same 300 test baskets: accuracy 0.9800",
        "paired interval -0.0010 to +0.0120",
        "Trained on 200607 to 200607, scored on 200609 to 200609: accuracy 0.9700 (0.9500 to 0.9800)",
        "| product groups | 0.7000 | 0.6000 |",
        "shuffled labels: accuracy 0.6100; always answering the most frequent label: 0.6200",
        "| Low | 0.9800 | 0.9700 | 0.9750 | 100 |",
        "0 customers, 0 baskets' contents. Duplicates inside a split: 2",
        '| hyperparameters | `{"trees": 30}` |',
        f"| bundle digest | `{'b' * 64}` |",
        f"| gold digest | `{'c' * 64}` |",
        f"| evidence SHA-256 | `{'e' * 64}` |",
        "| report | `s3://b/e/report.html` |",
    ],
)
def test_evidence_says(text):
    assert text in squeezed(evidence())


def test_every_table_row_has_as_many_cells_as_its_header():
    tables = [block.splitlines() for block in evidence().split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for header, *rows in tables:
        assert {row.count("|") for row in rows} == {header.count("|")}


def test_a_rule_that_failed_stands_out():
    failed = {"passed": False, "rules": [{"rule": "macro_f1", "passed": False, "detail": "too low"}]}
    assert "- **FAILED** `macro_f1`: too low" in evidence(gate=failed)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"champion": None}, "this would be the first approved model"),
        ({"champion": {"comparable": False, "note": "of another schema"}}, "`arn:m/2`: of another schema."),
        ({"later_weeks": None}, "Not tested: that needs at least six weeks."),
    ],
)
def test_what_was_not_compared_is_said(changes, text):
    assert text in evidence(**changes)


# --- the tasks that read evaluation.json ---
@pytest.fixture
def run(monkeypatch):
    """Gives the tasks an evaluation and collects what they register."""

    def give(**changes):
        content = evaluation(**EVIDENCE | changes).model_dump_json().encode()
        plan = Plan(["200607", "200609"], "c" * 64, "image", {}, None, None)
        ti = type("TaskInstance", (), {"xcom_pull": lambda _self, **_: plan.__dict__})()
        monkeypatch.setattr(training, "get_current_context", lambda: {"ti": ti})
        monkeypatch.setattr(training, "LakeHook", type("Lake", (), {"content": lambda _self, _key: content}))
        monkeypatch.setattr(training, "RegistryHook", type("Registry", (), {"register": staticmethod(registered)}))
        return content

    def registered(request):
        requests.append(request)
        return PACKAGE

    requests: list[dict] = []
    give.requests = requests
    return give


def test_the_gate_judges_the_figures_not_the_verdict_that_came_with_them(run):
    run(accuracy_interval=[0.7, 0.9], gate={"passed": True, "rules": []})
    with pytest.raises(RetailError, match=r"accuracy: .*below the minimum 0.800 by 0.1000\. Nothing was registered"):
        training.gate("job")


def test_a_good_model_passes_the_gate(run):
    run()
    assert training.gate("job")["no_customers_in_two_splits"] == "none"


def test_evidence_of_other_gold_is_refused(run):
    run(gold_digest="0" * 64)
    with pytest.raises(RetailError, match="this run is about"):
        training.gate("job")


def test_registration_names_bundle_gold_and_evidence(run):
    content = run()

    training.register("fit-1", "evaluate-1", params={"hyperparameters": {}})

    metadata = run.requests[0]["CustomerMetadataProperties"]
    assert metadata["bundle_digest"] == "b" * 64
    assert metadata["gold_digest"] == "c" * 64
    assert metadata["evidence"].endswith("/artifacts/evaluation/evaluate-1/evaluation.json")
    assert metadata["evidence_digest"] == hashlib.sha256(content).hexdigest()
    assert (metadata["accuracy"], metadata["macro_f1"]) == ("0.987650", "0.970000")


def test_the_approval_shows_the_evidence(run):
    run()
    assert training.evidence(PACKAGE.__dict__, "evaluate-1").startswith("**Version 3**")
