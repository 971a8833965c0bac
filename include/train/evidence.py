"""evaluation.json as types: what the evaluation found and what the gate said. Read by DAGs, pages and people."""

from pydantic import BaseModel, ConfigDict

Interval = tuple[float, float]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RuleResult(_Frozen):
    """One rule of the gate; detail says by how much it held or failed."""

    rule: str
    passed: bool
    detail: str


class GateResult(_Frozen):
    passed: bool
    rules: list[RuleResult]

    @property
    def failures(self) -> list[str]:
        """The details of the rules that failed."""
        return [f"{rule.rule}: {rule.detail}" for rule in self.rules if not rule.passed]


class ClassScore(_Frozen):
    precision: float
    recall: float
    f1: float
    baskets: int


class GroupScore(_Frozen):
    """Accuracy and macro F1 of a part of the test split."""

    group: str
    baskets: int
    accuracy: float
    macro_f1: float


class CalibrationBin(_Frozen):
    """Baskets whose confidence lies in (low, high]."""

    low: float
    high: float
    baskets: int
    confidence: float
    accuracy: float


class Control(_Frozen):
    """The same training on shuffled labels; it must do no better than always answering the most frequent label."""

    accuracy: float
    macro_f1: float
    majority: float


class Champion(_Frozen):
    """The approved model on the same test baskets; differences are candidate minus champion, with paired intervals.

    A champion of another schema version cannot be scored: then `comparable` is false, `note` says why, figures are
    absent."""

    comparable: bool
    note: str
    bundle_digest: str | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    accuracy_difference: float | None = None
    accuracy_difference_interval: Interval | None = None
    macro_f1_difference: float | None = None
    macro_f1_difference_interval: Interval | None = None


class LaterWeeks(_Frozen):
    """Trained on the first weeks, scored on the last: all customers, and customers that training did not see."""

    training_weeks: list[str]
    weeks: list[str]
    clones_dropped: int
    all_customers: GroupScore
    all_customers_interval: Interval
    new_customers: GroupScore


class LeakChecks(_Frozen):
    customers_in_two_splits: int
    fingerprints_in_two_splits: int
    clones: int


class Evaluation(_Frozen):
    """The whole of evaluation.json. Intervals are 95 % bootstrap intervals. ladder: name -> [accuracy, macro F1]."""

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
    later_weeks: LaterWeeks | None
    leaks: LeakChecks
    counts: dict[str, dict[str, int]]
    products: int
    cuts: Interval
    gate: GateResult | None = None
