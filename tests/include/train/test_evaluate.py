"""The evaluation job: evidence from the very artifact that will be served."""

import json
import shutil

import msgspec
import numpy as np
import pytest

from api.checks.held_out import read_baskets
from include.baskets import bundle
from include.baskets.errors import BundleError
from include.baskets.schema import Basket
from include.train import evaluate, fit
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
def found(output):
    return Evaluation.model_validate_json((output / "evaluation.json").read_bytes())


def test_exactly_these_files_are_written(output):
    assert {path.name for path in output.iterdir()} == FILES


def test_evidence_is_of_this_bundle_and_this_gold(found, fitted, manifests):
    assert found.bundle_digest == bundle.load(fitted / "model").digest
    assert found.gold_digest == manifests.digest
    assert found.weeks == list(WEEKS)


def test_figures_are_of_the_test_split(found, splits):
    labelled = int(splits["test"].labelled.sum())
    assert found.baskets == labelled
    assert sum(score.baskets for score in found.per_class.values()) == labelled
    assert sum(group.baskets for group in found.by_lines) == labelled
    assert sum(group.baskets for group in found.by_store_format) == labelled
    assert found.accuracy_interval[0] <= found.accuracy <= found.accuracy_interval[1]


def test_the_known_rule_is_found_and_passes_the_gate(found):
    assert found.accuracy > 0.95
    assert found.gate.passed
    assert set(found.ladder) == {"majority", "aggregates", "product_groups", "full"}
    assert found.ladder["full"] == (found.accuracy, found.macro_f1)


def test_a_champion_that_is_the_same_model_differs_by_nothing(found):
    assert found.champion.comparable
    assert found.champion.accuracy_difference == 0
    assert found.champion.accuracy_difference_interval == (0, 0)


def test_two_weeks_have_no_later_weeks(found):
    assert found.later_weeks is None


def test_held_out_baskets_carry_the_bundles_own_answers(output, fitted):
    served = bundle.load(fitted / "model")
    samples = [json.loads(line) for line in (output / "held_out.jsonl").read_text().splitlines()]
    assert 0 < len(samples) <= evaluate.HELD_OUT
    for sample in samples:
        answer = served.predict_many([msgspec.convert(sample["request"], Basket)])[0]
        assert sample["label"] in ("Low", "Medium", "High")
        assert sample["expected"]["prediction"] == answer.prediction
        assert sample["expected"]["probability"] == pytest.approx(answer.probability, abs=1e-6)


def test_verification_reads_the_held_out_baskets(output):
    assert len(read_baskets(str(output / "held_out.jsonl"), limit=500)) == evaluate.HELD_OUT


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
    found = evaluate.run(evaluation_base(tmp_path / "judge", gold, base / "model"))
    assert not found.gate.passed
    assert {rule.rule for rule in found.gate.rules if not rule.passed} == {"accuracy", "macro_f1"}


@pytest.mark.integration
def test_a_worse_candidate_fails_against_the_champion(tmp_path, gold, fitted):
    base = training_base(tmp_path / "fit", gold, min_samples_leaf=400, trees=3)
    fit.run(base)
    found = evaluate.run(evaluation_base(tmp_path / "judge", gold, base / "model", champion=fitted / "model"))
    assert "not_worse_than_champion" in [rule.rule for rule in found.gate.rules if not rule.passed]


def test_other_gold_than_the_bundles_is_refused(tmp_path, fitted):
    other = write_gold(tmp_path, WEEKS[:1])
    with pytest.raises(TrainingError, match="evaluate with the manifests that training had"):
        evaluate.run(evaluation_base(tmp_path / "judge", other, fitted / "model"))


def test_a_flipped_byte_in_the_bundle_is_refused(tmp_path, gold, fitted):
    damaged = shutil.copytree(fitted / "model", tmp_path / "model")
    content = bytearray((damaged / "model.onnx").read_bytes())
    content[100] ^= 1
    (damaged / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError):
        evaluate.run(evaluation_base(tmp_path / "judge", gold, damaged))


def test_a_champion_of_another_schema_version_is_not_compared(tmp_path, gold, fitted):
    old = shutil.copytree(fitted / "model", tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    found = evaluate.run(evaluation_base(tmp_path / "judge", gold, fitted / "model", champion=old))
    assert not found.champion.comparable
    assert "99" in found.champion.note
    assert found.gate.passed


def test_no_model_is_refused(tmp_path, gold, fitted):
    base = evaluation_base(tmp_path, gold, fitted / "model")
    shutil.rmtree(base / "processing" / "input" / "model")
    with pytest.raises(TrainingError, match=r"must hold one model\.tar\.gz, it holds 0"):
        evaluate.run(base)


def test_too_few_test_baskets_are_refused(fitted, splits, manifests):
    few = splits | {"test": splits["test"].take(np.arange(20))}
    with pytest.raises(TooLittleDataError, match="the test split has 20 labelled baskets"):
        evaluate.evaluate(bundle.load(fitted / "model"), None, few, [], manifests)


@pytest.mark.integration
def test_six_weeks_have_a_later_weeks_test(tmp_path, six_weeks):
    base = training_base(tmp_path / "fit", six_weeks)
    fit.run(base)
    found = evaluate.run(evaluation_base(tmp_path / "judge", six_weeks, base / "model"))
    assert found.later_weeks.weeks == list(SIX_WEEKS[4:])
    assert found.later_weeks.all_customers.accuracy > 0.9
