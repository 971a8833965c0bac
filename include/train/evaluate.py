"""The evaluation job: read a bundle and gold, write evidence. It scores the very bundle that will be served.

<base>/processing/input/{model,champion}/model.tar.gz            champion may be absent
<base>/processing/input/{train,validation,test,products,manifest}/  gold parts and manifests, at any depth
<base>/processing/output/evaluation/  evaluation.json, report.html, model_card.md, *.png, held_out.jsonl
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from include.baskets import bundle
from include.baskets.bundle import Bundle
from include.settings import settings
from include.train import baselines, breakdown, champion, control, data, gate, held_out, metrics, out_of_time, report
from include.train.champion import LoadedChampion
from include.train.data import Baskets
from include.train.errors import TooLittleDataError, TrainingError
from include.train.evidence import Control, Evaluation, LeakChecks, OutOfTimeTest
from include.train.hyperparameters import Hyperparameters
from include.train.metrics import Metrics
from include.train.progress import log

MIN_TEST_BASKETS: Final = 50
_GROUP_LEVELS: Final = ("PROD_CODE_40", "PROD_CODE_30")


@dataclass(frozen=True)
class Gold:
    """What the evaluation reads from gold. groups: product -> group, one dict for each level of the hierarchy."""

    train: Baskets
    validation: Baskets
    test: Baskets
    groups: list[dict[str, str]]
    manifests: data.Manifests

    @property
    def splits(self) -> dict[str, Baskets]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def run(base: Path) -> Evaluation:
    """Evaluate the candidate and write the evidence. A failed gate is evidence, not an error.

    TrainingError or BundleError when there is no candidate, no gold, or too little of it.
    """
    inputs = base / "processing" / "input"
    gold = read_gold(inputs)
    with tempfile.TemporaryDirectory() as scratch:
        candidate = bundle.load(bundle.unpack(champion.model_archive(inputs / "model"), Path(scratch) / "model"))
        current = champion.load(inputs / "champion", Path(scratch) / "champion")
    _require_same_gold(candidate, gold.manifests)
    log(f"candidate {candidate.digest}, {len(gold.manifests.weeks)} weeks, champion: {champion.describe(current)}")
    evaluation = evaluate(candidate, current, gold)
    verdict = gate.judge(evaluation, gate.Thresholds.model_validate(settings()))
    evaluation = evaluation.model_copy(update={"gate": verdict})
    for rule in verdict.rules:
        log(f"gate {'passed' if rule.passed else 'FAILED'} {rule.rule}: {rule.detail}")
    output = base / "processing" / "output" / "evaluation"
    output.mkdir(parents=True, exist_ok=True)
    (output / "held_out.jsonl").write_bytes(held_out.to_json_lines(candidate, gold.test))
    report.write(output, evaluation)
    (output / "evaluation.json").write_text(evaluation.model_dump_json(indent=1) + "\n")
    log(f"test:accuracy={evaluation.accuracy:.4f}; test:macro_f1={evaluation.macro_f1:.4f};")
    return evaluation


def read_gold(inputs: Path) -> Gold:
    """Read manifests, splits and product groups below the job's input folder. GoldError when they do not agree."""
    manifests = data.read_manifests(inputs / "manifest")
    train, validation, test = (
        data.read_split(inputs / split, split, manifests) for split in ("train", "validation", "test")
    )
    groups = [data.read_groups(inputs / "products", manifests, level) for level in _GROUP_LEVELS]
    return Gold(train, validation, test, groups, manifests)


def evaluate(candidate: Bundle, current: LoadedChampion, gold: Gold) -> Evaluation:
    """Return the evidence about a candidate, without the gate's verdict. current: the champion.

    TooLittleDataError when the test split has fewer than MIN_TEST_BASKETS labelled baskets.
    """
    hyperparameters = Hyperparameters.model_validate(candidate.metrics["hyperparameters"])
    test = _labelled_test_baskets(gold)
    scores = candidate.score(test.columns)
    predicted = scores.classes
    full = metrics.measure(test.label, predicted)
    log(f"test split: {len(test)} baskets, accuracy {full.accuracy:.4f}, macro F1 {full.macro_f1:.4f}")
    intervals = metrics.bootstrap(test.label, predicted)
    table = metrics.confusion(test.label, predicted)
    bins, calibration_error = metrics.calibration(test.label, predicted, scores.probabilities.max(axis=1))
    return Evaluation(
        bundle_digest=candidate.digest,
        gold_digest=gold.manifests.digest,
        weeks=list(gold.manifests.weeks),
        hyperparameters=hyperparameters.model_dump(),
        baskets=len(test),
        accuracy=full.accuracy,
        accuracy_interval=intervals.accuracy,
        macro_f1=full.macro_f1,
        macro_f1_interval=intervals.macro_f1,
        per_class=breakdown.by_class(table),
        confusion=breakdown.confusion_by_name(table),
        calibration=bins,
        calibration_error=calibration_error,
        by_lines=breakdown.by_lines(test, predicted),
        by_store_format=breakdown.by_store_format(test, predicted),
        ladder=_compare_baselines(full, gold, test, hyperparameters.seed),
        control=_run_control(gold, test, hyperparameters),
        champion=champion.compare(current, test, predicted),
        later_weeks=_run_out_of_time(gold, hyperparameters),
        leaks=_check_leaks(gold),
        counts={name: split.counts() for name, split in gold.splits.items()},
        products=len(candidate.table.codes),
        cuts=candidate.table.cuts,
    )


def _labelled_test_baskets(gold: Gold) -> Baskets:
    test = gold.test.take(gold.test.labelled)
    if len(test) < MIN_TEST_BASKETS:
        raise TooLittleDataError(
            f"the test split has {len(test)} labelled baskets, at least {MIN_TEST_BASKETS} are needed: add weeks"
        )
    return test


def _compare_baselines(full: Metrics, gold: Gold, test: Baskets, seed: int) -> dict[str, tuple[float, float]]:
    """Return accuracy and macro F1 of each baseline, and of the candidate under `full`."""
    results = {
        "majority": baselines.majority(gold.train, test),
        "aggregates": baselines.aggregates(gold.train, test, seed),
        "product_groups": baselines.product_groups(gold.train, test, gold.groups, seed),
        "full": full,
    }
    log("baselines: " + ", ".join(f"{name} {a:.3f}/{f:.3f}" for name, (a, f) in results.items()))
    return {name: (result.accuracy, result.macro_f1) for name, result in results.items()}


def _run_control(gold: Gold, test: Baskets, hyperparameters: Hyperparameters) -> Control:
    result = control.shuffled_labels(gold.train, test, hyperparameters)
    log(f"control on shuffled labels: accuracy {result.accuracy:.4f}, majority {result.majority:.4f}")
    return result


def _run_out_of_time(gold: Gold, hyperparameters: Hyperparameters) -> OutOfTimeTest | None:
    result = out_of_time.run(gold.train, [gold.validation, gold.test], gold.manifests.weeks, hyperparameters)
    if result:
        everyone = result.all_customers
        log(f"out-of-time test: accuracy {everyone.accuracy:.4f} on {everyone.baskets} baskets")
    return result


def _check_leaks(gold: Gold) -> LeakChecks:
    leaks = data.leaks_between(gold.splits.values())
    return LeakChecks(
        customers_in_two_splits=leaks.customers,
        fingerprints_in_two_splits=leaks.content_hashes,
        clones=leaks.duplicates,
    )


def _require_same_gold(candidate: Bundle, manifests: data.Manifests) -> None:
    trained_on: Any = candidate.metrics.get("gold_digest")
    if trained_on != manifests.digest:
        raise TrainingError(
            f"the bundle was trained on gold {trained_on}, the evaluation was given {manifests.digest} "
            f"({', '.join(manifests.weeks)}): evaluate with the manifests that training had, or train again"
        )
