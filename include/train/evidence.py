"""evaluation.json as types: the figures of an evaluation and the gate's verdict. Read by DAGs, pages and people.

Field names are the stored names, which never change. Some are older than the terms of the code: `ladder` holds the
baselines, `later_weeks` the out-of-time test, `clones` counts duplicates, `fingerprints` are content hashes.
"""

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleResult(_Frozen):
    """One rule of the gate. detail: by how much it passed or failed."""

    rule: str
    passed: bool
    detail: str


class GateResult(_Frozen):
    """The gate's verdict: passed only if every rule passed."""

    passed: bool
    rules: list[RuleResult]

    @property
    def failures(self) -> list[str]:
        """The details of the rules that failed."""
        return [f"{rule.rule}: {rule.detail}" for rule in self.rules if not rule.passed]


class ClassScore(_Frozen):
    """Precision, recall and F1 of one label. baskets: with that true label."""

    precision: float
    recall: float
    f1: float
    baskets: int


class GroupScore(_Frozen):
    """Accuracy and macro F1 of some test baskets."""

    group: str
    baskets: int
    accuracy: float
    macro_f1: float


class CalibrationBin(_Frozen):
    """The classified baskets whose confidence lies in (low, high]. confidence: their mean; accuracy: the share of right
    answers."""

    low: float
    high: float
    baskets: int
    confidence: float
    accuracy: float


class Control(_Frozen):
    """The metrics of the same training on shuffled labels. majority: accuracy of always predicting the most frequent
    label, which the control must not beat."""

    accuracy: float
    macro_f1: float
    majority: float


class Champion(_Frozen):
    """The approved model on the same test baskets. Differences are candidate minus champion, with paired intervals.

    A champion of another schema version cannot be scored: then `comparable` is false, `note` says why, and the figures
    are None."""

    comparable: bool
    note: str
    bundle_digest: str | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    accuracy_difference: float | None = None
    accuracy_difference_interval: Interval | None = None
    macro_f1_difference: float | None = None
    macro_f1_difference_interval: Interval | None = None


class OutOfTimeTest(_Frozen):
    """Trained on the first weeks, measured on the last: on all customers, and on customers that training did not see.

    clones_dropped: baskets that repeat one of the first weeks and were left out."""

    training_weeks: list[str]
    weeks: list[str]
    clones_dropped: int
    all_customers: GroupScore
    all_customers_interval: Interval
    new_customers: GroupScore


class LeakChecks(_Frozen):
    """What splits share. fingerprints: contents of baskets. clones: duplicates inside a split, which do no harm."""

    customers_in_two_splits: int
    fingerprints_in_two_splits: int
    clones: int


class Evaluation(_Frozen):
    """The whole of evaluation.json. Intervals are 95 % bootstrap intervals.

    ladder: name of the baseline -> [accuracy, macro F1]. counts: split -> label -> baskets. cuts: on the mean class of
    a basket's products, learned in training."""

    schema_version: int = 1
    bundle_digest: str
    gold_digest: str
    weeks: list[str]
    hyperparameters: dict[str, int | float | str]
    baskets: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    per_class: dict[str, ClassScore]
    confusion: dict[str, dict[str, int]]
    calibration: list[CalibrationBin]
    calibration_error: float
    by_lines: list[GroupScore]
    by_store_format: list[GroupScore]
    ladder: dict[str, tuple[float, float]]
    control: Control
    champion: Champion | None
    later_weeks: OutOfTimeTest | None
    leaks: LeakChecks
    counts: dict[str, dict[str, int]]
    products: int
    cuts: Interval
    gate: GateResult | None = None
