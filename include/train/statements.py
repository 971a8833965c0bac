"""Sentences about an evaluation that the report and the model card share."""

from include.train.evidence import Evaluation, Interval
from include.train.out_of_time import MIN_WEEKS


def headline(evaluation: Evaluation) -> str:
    """Return the two metrics of the test split with their intervals."""
    return (
        f"{evaluation.baskets} test baskets of customers that training never saw: accuracy {evaluation.accuracy:.4f} "
        f"({interval(evaluation.accuracy_interval)}), macro F1 {evaluation.macro_f1:.4f} "
        f"({interval(evaluation.macro_f1_interval)}). Brackets hold 95 % bootstrap intervals."
    )


def control(evaluation: Evaluation) -> str:
    """Return the negative control beside the majority baseline."""
    result = evaluation.control
    return (
        f"Control: the same training on shuffled labels reaches accuracy {result.accuracy:.4f}; always predicting the "
        f"most frequent label reaches {result.majority:.4f}. The two must be close."
    )


def champion(evaluation: Evaluation) -> str:
    """Return the comparison with the champion, or why there is none."""
    result = evaluation.champion
    if result is None:
        return "There is no champion yet."
    if result.accuracy_difference is None or result.accuracy_difference_interval is None:
        return result.note[0].upper() + result.note[1:]
    return (
        f"Champion {result.bundle_digest}, {result.note}: accuracy {result.accuracy:.4f}, macro F1 "
        f"{result.macro_f1:.4f}. The candidate's accuracy differs by {result.accuracy_difference:+.4f} "
        f"(paired interval {interval(result.accuracy_difference_interval)})."
    )


def out_of_time(evaluation: Evaluation) -> str:
    """Return the out-of-time test, or why there is none."""
    result = evaluation.later_weeks
    if result is None:
        return f"No out-of-time test: it needs at least {MIN_WEEKS} weeks."
    everyone = result.all_customers
    new = result.new_customers
    return (
        f"Out-of-time test: trained on weeks {result.training_weeks[0]} to {result.training_weeks[-1]} and measured on "
        f"weeks {result.weeks[0]} to {result.weeks[-1]}: accuracy {everyone.accuracy:.4f} "
        f"({interval(result.all_customers_interval)}), macro F1 {everyone.macro_f1:.4f} on {everyone.baskets} baskets; "
        f"new customers only: {new.accuracy:.4f}, {new.macro_f1:.4f} on {new.baskets}. "
        f"{result.clones_dropped} duplicates of earlier baskets were left out."
    )


def leaks(evaluation: Evaluation) -> str:
    """Return what the splits share."""
    result = evaluation.leaks
    return (
        f"In more than one split: {result.customers_in_two_splits} customers, {result.fingerprints_in_two_splits} "
        f"contents of baskets with five lines or more. Duplicates inside a split: {result.clones}."
    )


def interval(bounds: Interval) -> str:
    """Return `low to high`; with signs when low is negative."""
    low, high = bounds
    return f"{low:+.4f} to {high:+.4f}" if low < 0 else f"{low:.4f} to {high:.4f}"
