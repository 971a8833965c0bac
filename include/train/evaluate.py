"""The evaluation job: a bundle and gold in, evidence out. Scores the very artifact that will be served.

<base>/processing/input/{model,champion}/model.tar.gz            champion may be absent
<base>/processing/input/{train,validation,test,products,manifest}/  gold parts and manifests, at any depth
<base>/processing/output/evaluation/  evaluation.json, report.html, model_card.md, *.png, held_out.jsonl
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from include.baskets import bundle
from include.baskets.bundle import Bundle
from include.baskets.errors import BundleVersionError
from include.baskets.schema import LABELS, STORE_FORMATS, UNCLASSIFIED, Basket, Line
from include.settings import settings
from include.train import baselines as ladder
from include.train import data, gate, metrics, report
from include.train.data import Baskets
from include.train.errors import TooLittleDataError, TrainingError
from include.train.evidence import (
    CalibrationBin,
    Champion,
    ClassScore,
    Evaluation,
    GroupScore,
    LeakChecks,
)
from include.train.hyperparameters import Hyperparameters
from include.train.progress import say

HELD_OUT: Final = 200
"""Test baskets kept with their expected scores, for smoke tests and canaries."""

LINE_GROUPS: Final = ((1, 1), (2, 2), (3, 4), (5, 7), (8, 12), (13, 20), (21, None))
MIN_TEST_BASKETS: Final = 50
_GROUP_LEVELS = ("PROD_CODE_40", "PROD_CODE_30")


def run(base: Path) -> Evaluation:
    """Judge and write the evidence; TrainingError when the evidence cannot be had. A failed gate is evidence."""
    inputs = base / "processing" / "input"
    manifests = data.read_manifests(inputs / "manifest")
    splits = {split: data.read_split(inputs / split, split, manifests) for split in ("train", "validation", "test")}
    groups = [data.read_groups(inputs / "products", manifests, level) for level in _GROUP_LEVELS]
    with tempfile.TemporaryDirectory() as scratch:
        candidate = bundle.load(bundle.unpack(_archive(inputs / "model"), Path(scratch) / "model"))
        champion = _load_champion(inputs / "champion", Path(scratch) / "champion")
    _refuse_other_gold(candidate, manifests)
    say(f"candidate {candidate.digest}, {len(manifests.weeks)} weeks, champion: {_name(champion)}")
    evaluation = evaluate(candidate, champion, splits, groups, manifests)
    verdict = gate.judge(evaluation, gate.Thresholds.model_validate(settings()))
    evaluation = evaluation.model_copy(update={"gate": verdict})
    for rule in verdict.rules:
        say(f"gate {'passed' if rule.passed else 'FAILED'} {rule.rule}: {rule.detail}")
    output = base / "processing" / "output" / "evaluation"
    output.mkdir(parents=True, exist_ok=True)
    (output / "held_out.jsonl").write_bytes(held_out(candidate, splits["test"]))
    report.write(output, evaluation)
    (output / "evaluation.json").write_text(evaluation.model_dump_json(indent=1) + "\n")
    say(f"test:accuracy={evaluation.accuracy:.4f}; test:macro_f1={evaluation.macro_f1:.4f};")
    return evaluation


def evaluate(
    candidate: Bundle,
    champion: Bundle | BundleVersionError | None,
    splits: dict[str, Baskets],
    groups: list[dict[str, str]],
    manifests: data.Manifests,
) -> Evaluation:
    """All figures of a candidate; groups: product -> group, one dict a level of the hierarchy."""
    hyperparameters = Hyperparameters.model_validate(candidate.metrics["hyperparameters"])
    train, test = splits["train"], splits["test"].take(splits["test"].labelled)
    if len(test) < MIN_TEST_BASKETS:
        raise TooLittleDataError(
            f"the test split has {len(test)} labelled baskets, at least {MIN_TEST_BASKETS} are needed: add weeks"
        )
    scores = candidate.score(test.columns)
    table = metrics.confusion(test.label, scores.classes)
    accuracy, macro_f1 = metrics.both(test.label, scores.classes)
    accuracy_interval, macro_f1_interval = metrics.bootstrap(test.label, scores.classes)
    say(f"test split: {len(test)} baskets, accuracy {accuracy:.4f}, macro F1 {macro_f1:.4f}")
    precision, recall, f1 = metrics.precision_recall_f1(table)
    bins, calibration_error = metrics.calibration(test.label, scores.classes, scores.probabilities.max(axis=1))
    rungs = {
        "majority": ladder.majority(train, test),
        "aggregates": ladder.aggregates(train, test, hyperparameters.seed),
        "product_groups": ladder.product_groups(train, test, groups, hyperparameters.seed),
        "full": (accuracy, macro_f1),
    }
    say("ladder: " + ", ".join(f"{name} {a:.3f}/{f:.3f}" for name, (a, f) in rungs.items()))
    control = ladder.shuffled_control(train, test, hyperparameters)
    say(f"shuffled labels: {control.accuracy:.4f}, majority {control.majority:.4f}")
    later = ladder.later_weeks(train, [splits["validation"], splits["test"]], manifests.weeks, hyperparameters)
    if later:
        say(f"later weeks: {later.all_customers.accuracy:.4f} on {later.all_customers.baskets} baskets")
    leaks = data.leaks_between(splits.values())
    return Evaluation(
        bundle_digest=candidate.digest,
        gold_digest=manifests.digest,
        weeks=list(manifests.weeks),
        hyperparameters=hyperparameters.model_dump(),
        baskets=len(test),
        accuracy=accuracy,
        accuracy_interval=accuracy_interval,
        macro_f1=macro_f1,
        macro_f1_interval=macro_f1_interval,
        per_class={
            name: ClassScore(
                precision=precision[code], recall=recall[code], f1=f1[code], baskets=int(table[code].sum())
            )
            for code, name in enumerate(LABELS)
        },
        confusion={
            name: dict(zip((*LABELS, UNCLASSIFIED), table[code].tolist(), strict=True))
            for code, name in enumerate(LABELS)
        },
        calibration=[
            CalibrationBin(low=low, high=high, baskets=count, confidence=confidence, accuracy=share)
            for low, high, count, confidence, share in bins
        ],
        calibration_error=calibration_error,
        by_lines=_by_lines(test, scores.classes),
        by_store_format=_by_store_format(test, scores.classes),
        ladder=rungs,
        control=control,
        champion=_against_champion(champion, test, scores.classes),
        later_weeks=later,
        leaks=LeakChecks(
            customers_in_two_splits=leaks.customers,
            fingerprints_in_two_splits=leaks.fingerprints,
            clones=leaks.clones,
        ),
        counts={name: split.counts() for name, split in splits.items()},
        products=len(candidate.table.codes),
        cuts=candidate.table.cuts,
    )


def held_out(candidate: Bundle, test: Baskets) -> bytes:
    """Up to HELD_OUT labelled test baskets as JSON lines: request, label and the bundle's own answer.

    Which ones is decided by their fingerprints, so the choice is arbitrary but always the same."""
    rows = np.flatnonzero(test.labelled)
    chosen = test.take(rows[np.argsort(test.fingerprint[rows].astype(str), kind="stable")][:HELD_OUT])
    baskets = [_request(chosen, row) for row in range(len(chosen))]
    lines = [
        {
            "request": msgspec.to_builtins(basket),
            "label": LABELS[label],
            "expected": {"prediction": answer.prediction, "probability": answer.probability},
        }
        for basket, label, answer in zip(baskets, chosen.label, candidate.predict_many(baskets), strict=True)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _request(baskets: Baskets, row: int) -> Basket:
    """What a client would send for a gold basket."""
    columns = baskets.columns
    return Basket(
        SHOP_WEEKDAY=int(columns.weekday[row]),
        SHOP_HOUR=int(columns.hour[row]),
        STORE_FORMAT=STORE_FORMATS[int(columns.store_format[row])],
        STORE_REGION=baskets.region[row],
        lines=[
            Line(columns.products[columns.product[line]], int(columns.quantity[line]), float(columns.spend[line]))
            for line in range(columns.offsets[row], columns.offsets[row + 1])
        ],
    )


def _by_lines(test: Baskets, predicted: np.ndarray) -> list[GroupScore]:
    sizes = test.columns.sizes
    return [
        ladder.score_group(_range(low, high), test.label[rows], predicted[rows])
        for low, high in LINE_GROUPS
        if (rows := (sizes >= low) & (sizes <= (high or sizes.max()))).any()
    ]


def _range(low: int, high: int | None) -> str:
    if high is None:
        return f"{low} or more"
    return str(low) if low == high else f"{low} to {high}"


def _by_store_format(test: Baskets, predicted: np.ndarray) -> list[GroupScore]:
    return [
        ladder.score_group(name, test.label[rows], predicted[rows])
        for position, name in enumerate(STORE_FORMATS)
        if (rows := test.columns.store_format == position).any()
    ]


def _against_champion(champion: Bundle | BundleVersionError | None, test: Baskets, ours: np.ndarray) -> Champion | None:
    if champion is None:
        return None
    if isinstance(champion, BundleVersionError):
        return Champion(comparable=False, note=f"the champion cannot be scored by this code: {champion}")
    theirs = champion.score(test.columns).classes
    (our_accuracy, our_f1), (accuracy, macro_f1) = metrics.both(test.label, ours), metrics.both(test.label, theirs)
    accuracy_interval, macro_f1_interval = metrics.paired_bootstrap(test.label, ours, theirs)
    return Champion(
        comparable=True,
        note=f"scored on the same {len(test)} test baskets",
        bundle_digest=champion.digest,
        accuracy=accuracy,
        macro_f1=macro_f1,
        accuracy_difference=our_accuracy - accuracy,
        accuracy_difference_interval=accuracy_interval,
        macro_f1_difference=our_f1 - macro_f1,
        macro_f1_difference_interval=macro_f1_interval,
    )


def _archive(folder: Path) -> Path:
    found = sorted(folder.rglob("*.tar.gz"))
    if len(found) != 1:
        raise TrainingError(
            f"{folder} must hold one model.tar.gz, it holds {len(found)}: give the job the model's output"
        )
    return found[0]


def _load_champion(folder: Path, scratch: Path) -> Bundle | BundleVersionError | None:
    """None when there is no champion; the error when it is of another schema version. Other damage is raised."""
    if not folder.is_dir() or not any(folder.rglob("*.tar.gz")):
        return None
    try:
        return bundle.load(bundle.unpack(_archive(folder), scratch))
    except BundleVersionError as error:
        return error


def _name(champion: Bundle | BundleVersionError | None) -> str:
    if champion is None:
        return "none"
    return champion.digest if isinstance(champion, Bundle) else "of another schema version"


def _refuse_other_gold(candidate: Bundle, manifests: data.Manifests) -> None:
    trained_on: Any = candidate.metrics.get("gold_digest")
    if trained_on != manifests.digest:
        raise TrainingError(
            f"the bundle was trained on gold {trained_on}, the evaluation was given {manifests.digest} "
            f"({', '.join(manifests.weeks)}): evaluate with the manifests that training had, or train again"
        )
