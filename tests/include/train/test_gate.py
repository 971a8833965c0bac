"""Every rule of the gate, and its twin that must fail."""

import pytest

from include.settings import settings
from include.train.evidence import Evaluation
from include.train.gate import Thresholds, judge
from tests.include.train.evidence import champion, evaluation

THRESHOLDS = Thresholds(min_accuracy=0.8, min_macro_f1=0.7, control_margin=0.03)
RULES = [
    "accuracy",
    "macro_f1",
    "not_worse_than_champion",
    "control_at_majority",
    "no_customers_in_two_splits",
    "no_fingerprints_in_two_splits",
]


def failures(**changes) -> list[str]:
    return [rule.rule for rule in judge(evaluation(**changes), THRESHOLDS).rules if not rule.passed]


def test_a_good_model_passes_every_rule():
    verdict = judge(evaluation(), THRESHOLDS)
    assert verdict.passed
    assert [rule.rule for rule in verdict.rules] == RULES
    assert verdict.failures == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"accuracy": 0.81, "accuracy_interval": (0.79, 0.83)}, "accuracy"),
        ({"macro_f1": 0.71, "macro_f1_interval": (0.69, 0.73)}, "macro_f1"),
        ({"champion": champion(accuracy=(-0.02, -0.001))}, "not_worse_than_champion"),
        ({"champion": champion(macro_f1=(-0.02, -0.001))}, "not_worse_than_champion"),
        ({"control": {"accuracy": 0.66, "macro_f1": 0.4, "majority": 0.62}}, "control_at_majority"),
        ({"control": {"accuracy": 0.58, "macro_f1": 0.4, "majority": 0.62}}, "control_at_majority"),
        ({"leaks": {"customers_in_two_splits": 1, "fingerprints_in_two_splits": 0, "clones": 0}}, RULES[4]),
        ({"leaks": {"customers_in_two_splits": 0, "fingerprints_in_two_splits": 1, "clones": 0}}, RULES[5]),
    ],
)
def test_one_fault_fails_its_rule_and_no_other(changes, rule):
    assert failures(**changes) == [rule]
    assert not judge(evaluation(**changes), THRESHOLDS).passed


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy_interval": (0.8, 0.9)},
        {"champion": champion(accuracy=(-0.02, 0.0))},
        {"champion": {"comparable": False, "note": "of schema 0"}},
        {"control": {"accuracy": 0.649, "macro_f1": 0.4, "majority": 0.62}},
        {"leaks": {"customers_in_two_splits": 0, "fingerprints_in_two_splits": 0, "clones": 99}},
    ],
)
def test_what_is_just_good_enough_passes(changes):
    assert failures(**changes) == []


def test_a_failed_rule_says_by_how_much():
    verdict = judge(evaluation(accuracy=0.81, accuracy_interval=(0.79, 0.83)), THRESHOLDS)
    assert verdict.failures == ["accuracy: 0.8100, lower bound 0.7900, is below the minimum 0.800 by 0.0100"]


def test_a_comparison_without_figures_fails():
    assert failures(champion={"comparable": True, "note": "scored"}) == ["not_worse_than_champion"]


def test_a_verdict_that_comes_with_the_evidence_is_not_believed():
    forged = {"gate": {"passed": True, "rules": []}, "accuracy_interval": (0.1, 0.9)}
    assert failures(**forged) == ["accuracy"]


def test_thresholds_are_the_settings():
    thresholds = Thresholds.model_validate(settings())
    assert (thresholds.min_accuracy, thresholds.min_macro_f1, thresholds.control_margin) == (0.8, 0.7, 0.03)


def test_evidence_with_unknown_fields_is_refused():
    with pytest.raises(ValueError, match="extra"):
        Evaluation.model_validate(evaluation().model_dump() | {"surprise": 1})
