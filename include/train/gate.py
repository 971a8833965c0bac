"""The gate between a trained model and the registry: evidence in, verdict out, no I/O.

It runs twice: in the evaluation job for the report, and again in the DAG `train` on evaluation.json. The details of
the rules are stored in evaluation.json. The limits are settings: RETAIL_MIN_ACCURACY and so on in include/settings.py.
"""

from pydantic import BaseModel, ConfigDict, Field

from include.train.evidence import Champion, Evaluation, GateResult, RuleResult


class Thresholds(BaseModel):
    """The gate's settings: `Thresholds.model_validate(settings())`, see include/settings.py."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    min_accuracy: float = Field(ge=0, le=1)
    min_macro_f1: float = Field(ge=0, le=1)
    control_margin: float = Field(gt=0, le=1)


def judge(evaluation: Evaluation, thresholds: Thresholds) -> GateResult:
    """Apply all rules. The verdict that the evaluation itself carries is ignored."""
    rules = [
        _at_least("accuracy", evaluation.accuracy, evaluation.accuracy_interval[0], thresholds.min_accuracy),
        _at_least("macro_f1", evaluation.macro_f1, evaluation.macro_f1_interval[0], thresholds.min_macro_f1),
        _champion(evaluation.champion),
        _control(evaluation, thresholds.control_margin),
        _none_shared("customers", evaluation.leaks.customers_in_two_splits),
        _none_shared("fingerprints", evaluation.leaks.fingerprints_in_two_splits),
    ]
    return GateResult(passed=all(rule.passed for rule in rules), rules=rules)


def _at_least(rule: str, value: float, lower: float, minimum: float) -> RuleResult:
    """Compare the lower bound of the interval with the minimum, so that luck with few test baskets does not pass."""
    gap = lower - minimum
    words = (
        f"above the minimum {minimum:.3f} by {gap:.4f}"
        if gap >= 0
        else f"below the minimum {minimum:.3f} by {-gap:.4f}"
    )
    return RuleResult(rule=rule, passed=gap >= 0, detail=f"{value:.4f}, lower bound {lower:.4f}, is {words}")


def _champion(champion: Champion | None) -> RuleResult:
    """Fail when the whole interval of a difference lies below 0. Without a comparable champion the rule passes."""
    rule = "not_worse_than_champion"
    if champion is None:
        return RuleResult(rule=rule, passed=True, detail="there is no champion yet")
    if not champion.comparable:
        return RuleResult(rule=rule, passed=True, detail=champion.note)
    passed = True
    details = []
    for name, difference, interval in (
        ("accuracy", champion.accuracy_difference, champion.accuracy_difference_interval),
        ("macro F1", champion.macro_f1_difference, champion.macro_f1_difference_interval),
    ):
        if difference is None or interval is None:
            return RuleResult(rule=rule, passed=False, detail=f"the evaluation lacks the difference of {name}")
        passed &= interval[1] >= 0
        details.append(f"{name} {difference:+.4f} (interval {interval[0]:+.4f} to {interval[1]:+.4f})")
    verdict = "" if passed else ": worse on the same test baskets, the whole interval lies below 0"
    return RuleResult(rule=rule, passed=passed, detail=f"against the champion {', '.join(details)}{verdict}")


def _control(evaluation: Evaluation, margin: float) -> RuleResult:
    """Fail when the control's accuracy differs from the majority's by more than margin."""
    control = evaluation.control
    gap = control.accuracy - control.majority
    detail = f"with shuffled labels {control.accuracy:.4f}, majority {control.majority:.4f}: {abs(gap):.4f} apart"
    passed = abs(gap) <= margin
    if not passed:
        detail += f", {abs(gap) - margin:.4f} more than allowed; test labels may reach the features"
    return RuleResult(rule="control_at_majority", passed=passed, detail=detail)


def _none_shared(what: str, count: int) -> RuleResult:
    return RuleResult(
        rule=f"no_{what}_in_two_splits",
        passed=count == 0,
        detail="none" if count == 0 else f"{count} {what} are in more than one split: build gold again, train again",
    )
