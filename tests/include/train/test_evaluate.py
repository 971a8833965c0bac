"""The evaluation job: evidence from the very artifact that will be served."""

import json
import shutil

import msgspec
import numpy as np
import pytest

from api.checks.held_out import read_baskets
from include.baskets import bundle
from include.baskets.errors import BundleDigestError
from include.baskets.schema import Basket
from include.train import evaluate, fit, held_out
from include.train.errors import TooLittleDataError, TrainingError
from include.train.evidence import Evaluation
from tests.include.train.conftest import SIX_WEEKS
from tests.include.train.gold import WEEKS, evaluation_base, training_base, write_gold

FILES = {
    "evaluation.json",
    "report.html",
    "model_card.md",
    "held_out.jsonl",
    "by_lines.png",
    "calibration.png",
    "confusion.png",
    "ladder.png",
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory, gold, fitted):
    """Base folder of an evaluation whose champion is the candidate itself."""
    base = evaluation_base(tmp_path_factory.mktemp("judged"), gold, fitted / "model", champion=fitted / "model")
    evaluate.run(base)
    return base


@pytest.fixture(scope="module")
def output(judged):
    return judged / "processing" / "output" / "evaluation"


@pytest.fixture(scope="module")
def evaluation(output):
    return Evaluation.model_validate_json((output / "evaluation.json").read_bytes())


def test_exactly_these_files_are_written(output):
    assert {path.name for path in output.iterdir()} == FILES


def test_evidence_is_of_this_bundle_and_this_gold(evaluation, fitted, manifests):
    assert evaluation.bundle_digest == bundle.load(fitted / "model").digest
    assert evaluation.gold_digest == manifests.digest
    assert evaluation.weeks == list(WEEKS)


def test_figures_are_of_the_test_split(evaluation, splits):
    labelled = int(splits["test"].labelled.sum())
    assert evaluation.baskets == labelled
    assert sum(score.baskets for score in evaluation.per_class.values()) == labelled
    assert sum(group.baskets for group in evaluation.by_lines) == labelled
    assert sum(group.baskets for group in evaluation.by_store_format) == labelled
    assert evaluation.accuracy_interval[0] <= evaluation.accuracy <= evaluation.accuracy_interval[1]


def test_the_known_rule_is_found_and_passes_the_gate(evaluation):
    assert evaluation.accuracy > 0.95
    assert evaluation.gate.passed
    assert set(evaluation.ladder) == {"majority", "aggregates", "product_groups", "full"}
    assert evaluation.ladder["full"] == (evaluation.accuracy, evaluation.macro_f1)


def test_a_champion_that_is_the_same_model_differs_by_nothing(evaluation):
    assert evaluation.champion.comparable
    assert evaluation.champion.accuracy_difference == 0
    assert evaluation.champion.accuracy_difference_interval == (0, 0)


def test_two_weeks_have_no_out_of_time_test(evaluation):
    assert evaluation.later_weeks is None


def test_held_out_baskets_carry_the_bundles_own_answers(output, fitted):
    served = bundle.load(fitted / "model")
    samples = [json.loads(line) for line in (output / "held_out.jsonl").read_text().splitlines()]
    assert 0 < len(samples) <= held_out.COUNT
    for sample in samples:
        answer = served.predict_many([msgspec.convert(sample["request"], Basket)])[0]
        assert sample["label"] in ("Low", "Medium", "High")
        assert sample["expected"]["prediction"] == answer.prediction
        assert sample["expected"]["probability"] == pytest.approx(answer.probability, abs=1e-6)


def test_verification_reads_the_held_out_baskets(output):
    assert len(read_baskets(str(output / "held_out.jsonl"), limit=500)) == held_out.COUNT


@pytest.mark.integration
def test_evidence_repeats_byte_for_byte(judged, output, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(judged / "processing" / "input", again / "processing" / "input")
    evaluate.run(again)
    for name in ("evaluation.json", "held_out.jsonl", "model_card.md"):
        assert (again / "processing" / "output" / "evaluation" / name).read_bytes() == (output / name).read_bytes()


@pytest.mark.integration
def test_a_model_of_shuffled_labels_is_judged_and_fails(tmp_path):
    gold = write_gold(tmp_path, WEEKS[:1], shuffled_labels=True)
    base = training_base(tmp_path / "fit", gold)
    fit.run(base)
    evaluation = evaluate.run(evaluation_base(tmp_path / "judge", gold, base / "model"))
    assert not evaluation.gate.passed
    assert {rule.rule for rule in evaluation.gate.rules if not rule.passed} == {"accuracy", "macro_f1"}


@pytest.mark.integration
def test_a_worse_candidate_fails_against_the_champion(tmp_path, gold, fitted):
    base = training_base(tmp_path / "fit", gold, min_samples_leaf=400, trees=3)
    fit.run(base)
    evaluation = evaluate.run(evaluation_base(tmp_path / "judge", gold, base / "model", champion=fitted / "model"))
    assert "not_worse_than_champion" in [rule.rule for rule in evaluation.gate.rules if not rule.passed]


def test_other_gold_than_the_bundles_is_refused(tmp_path, fitted):
    other = write_gold(tmp_path, WEEKS[:1])
    with pytest.raises(TrainingError, match="evaluate with the manifests that training had"):
        evaluate.run(evaluation_base(tmp_path / "judge", other, fitted / "model"))


def test_a_flipped_byte_in_the_bundle_is_refused(tmp_path, gold, fitted):
    damaged = shutil.copytree(fitted / "model", tmp_path / "model")
    content = bytearray((damaged / "model.onnx").read_bytes())
    content[100] ^= 1
    (damaged / "model.onnx").write_bytes(content)
    with pytest.raises(BundleDigestError, match=r"model\.onnx was changed after training"):
        evaluate.run(evaluation_base(tmp_path / "judge", gold, damaged))


def test_a_champion_of_another_schema_version_is_not_compared(tmp_path, gold, fitted):
    old = shutil.copytree(fitted / "model", tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    evaluation = evaluate.run(evaluation_base(tmp_path / "judge", gold, fitted / "model", champion=old))
    assert not evaluation.champion.comparable
    assert "99" in evaluation.champion.note
    assert evaluation.gate.passed


def test_no_model_is_refused(tmp_path, gold, fitted):
    base = evaluation_base(tmp_path, gold, fitted / "model")
    shutil.rmtree(base / "processing" / "input" / "model")
    with pytest.raises(TrainingError, match=r"must hold one model\.tar\.gz, it holds 0"):
        evaluate.run(base)


def test_too_few_test_baskets_are_refused(fitted, splits, manifests):
    few = evaluate.Gold(splits["train"], splits["validation"], splits["test"].take(np.arange(20)), [], manifests)
    with pytest.raises(TooLittleDataError, match="the test split has 20 labelled baskets"):
        evaluate.evaluate(bundle.load(fitted / "model"), None, few)


@pytest.mark.integration
def test_six_weeks_have_an_out_of_time_test(tmp_path, six_weeks):
    base = training_base(tmp_path / "fit", six_weeks)
    fit.run(base)
    evaluation = evaluate.run(evaluation_base(tmp_path / "judge", six_weeks, base / "model"))
    assert evaluation.later_weeks.weeks == list(SIX_WEEKS[4:])
    assert evaluation.later_weeks.all_customers.accuracy > 0.9
