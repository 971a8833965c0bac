"""The training job: one bundle from one gold, or a refusal that says why."""

import json
import shutil

import pytest

from include.baskets import bundle
from include.train import __main__ as command
from include.train import data, fit
from include.train.errors import GoldError, TooLittleDataError, TrainingError
from tests.include.train.gold import WEEKS, rows_of_week, training_base, write_gold, write_week


def test_the_same_gold_gives_the_same_bundle(fitted, gold, tmp_path):
    again = training_base(tmp_path / "again", gold)
    assert fit.run(again) == bundle.load(fitted / "model").digest
    for path in sorted((fitted / "model").iterdir()):
        assert (again / "model" / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_seed_gives_another_bundle(fitted, gold, tmp_path):
    assert fit.run(training_base(tmp_path, gold, seed=1)) != bundle.load(fitted / "model").digest


def test_the_bundle_says_what_it_was_made_of(fitted, manifests):
    metrics = bundle.load(fitted / "model").metrics
    assert metrics["gold_digest"] == manifests.digest
    assert metrics["weeks"] == list(WEEKS)
    assert metrics["hyperparameters"]["trees"] == 30
    assert metrics["validation"]["accuracy"] > 0.95
    assert metrics["validation"]["baskets"] > fit.MIN_BASKETS["validation"]


def test_a_file_of_an_earlier_try_does_not_stay(gold, tmp_path):
    base = training_base(tmp_path, gold)
    (base / "model").mkdir()
    (base / "model" / "left-over.bin").write_bytes(b"x")
    fit.run(base)
    assert not (base / "model" / "left-over.bin").exists()


def test_too_little_data_is_refused_with_counts(tmp_path):
    base = training_base(tmp_path / "job", write_gold(tmp_path, WEEKS[:1], baskets=200))
    with pytest.raises(TooLittleDataError, match=r"the train split has \d+ labelled baskets, at least 300 are needed"):
        fit.run(base)


def test_a_customer_in_two_splits_is_refused(tmp_path):
    rows = rows_of_week(WEEKS[0])
    stolen = next(row["CUST_CODE"] for row in rows if row["split"] == "train" and row["CUST_CODE"])
    next(row for row in rows if row["split"] == "validation")["CUST_CODE"] = stolen
    write_week(tmp_path / "gold", WEEKS[0], rows)
    with pytest.raises(GoldError, match="1 customers and 0 baskets' contents are in more than one split"):
        fit.run(training_base(tmp_path / "job", tmp_path / "gold"))


def test_a_served_model_that_answers_otherwise_is_refused(gold, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "_CONVERSION_TOLERANCE", -1.0)
    base = training_base(tmp_path, gold)
    with pytest.raises(TrainingError, match="ONNX model's probabilities differ"):
        fit.run(base)
    assert not (base / "model" / "manifest.json").exists()


def test_the_command_writes_the_reason_where_sagemaker_looks(gold, tmp_path, capsys):
    base = training_base(tmp_path, gold)
    shutil.rmtree(base / "input" / "data" / "manifest")
    assert command.main(["fit", "--base", str(base)]) == 1
    reason = (base / "output" / "failure").read_text()
    assert "no manifest below" in reason
    assert reason in capsys.readouterr().err


def test_the_command_refuses_unknown_hyperparameters(gold, tmp_path):
    base = training_base(tmp_path, gold, forests=3)
    assert command.main(["fit", "--base", str(base)]) == 1
    assert "forests" in (base / "output" / "failure").read_text()


def test_a_defect_is_told_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data, "read_manifests", lambda _folder: 1 / 0)
    assert command.main(["fit", "--base", str(tmp_path)]) == 1
    assert (
        tmp_path / "output" / "failure"
    ).read_text() == "fit failed unexpectedly: ZeroDivisionError: division by zero\n"
    assert "Traceback" in capsys.readouterr().err


def test_progress_carries_the_figures_that_sagemaker_reads(gold, tmp_path, capsys):
    fit.run(training_base(tmp_path, gold))
    figures = [line for line in capsys.readouterr().out.splitlines() if line.startswith("validation:accuracy=")]
    assert len(figures) == 1
    assert json.loads(figures[0].split("=")[1].split(";")[0]) > 0.95
