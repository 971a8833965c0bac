"""What people read about a candidate: report.html (one file, pictures inline), model_card.md and the pictures."""

import base64
from html import escape
from pathlib import Path

import pandas as pd

from include.train import plots
from include.train.evidence import Evaluation, GroupScore, Interval

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a202c; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .6rem 0; } th, td { padding: .25rem .8rem; text-align: right; }
th:first-child, td:first-child, .rules td { text-align: left; } th { border-bottom: 2px solid #cbd5e0; }
td { border-bottom: 1px solid #edf2f7; } img { width: 49%; min-width: 20rem; }
.verdict { padding: .6rem 1rem; border-radius: .4rem; font-weight: 600; color: #fff; }
.passed { background: #2f855a; } .failed { background: #c53030; } code { font-size: .85em; }
"""


def write(folder: Path, evaluation: Evaluation) -> None:
    """The files into an existing folder; the evaluation carries the gate's verdict."""
    pictures = plots.draw(evaluation)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    (folder / "report.html").write_text(html(evaluation, pictures), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card(evaluation), encoding="utf-8")


def html(evaluation: Evaluation, pictures: dict[str, bytes]) -> str:
    """The whole page; it loads nothing from anywhere."""
    images = "\n".join(
        f'<img alt="{escape(name.removesuffix(".png").replace("_", " "))}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for name, data in pictures.items()
    )
    sections = [
        ("Test split", f"<p>{escape(_headline(evaluation))}</p>{_table(_per_class(evaluation))}"),
        ("Ladder", _table(_ladder(evaluation)) + f"<p>{escape(_control(evaluation))}</p>"),
        ("Pictures", images),
        ("Champion", f"<p>{escape(_champion(evaluation))}</p>"),
        ("Later weeks", f"<p>{escape(_later(evaluation))}</p>"),
        ("By lines in the basket", _table(_groups(evaluation.by_lines))),
        ("By store format", _table(_groups(evaluation.by_store_format))),
        ("Baskets", _table(_counts(evaluation)) + f"<p>{escape(_leaks(evaluation))}</p>"),
        ("Provenance", _table(_provenance(evaluation))),
    ]
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Model evaluation</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Price sensitivity of baskets: evaluation of a candidate</h1>\n"
        f"{_verdict(evaluation)}\n{body}\n</body></html>\n"
    )


def model_card(evaluation: Evaluation) -> str:
    """The model card of this candidate."""
    rules = evaluation.gate.rules if evaluation.gate else []
    gate = "\n".join(f"- {'passed' if r.passed else '**failed**'} `{r.rule}`: {r.detail}" for r in rules)
    ladder = "\n".join(f"| {name} | {a:.4f} | {f:.4f} |" for name, (a, f) in evaluation.ladder.items())
    classes = "\n".join(
        f"| {name} | {s.precision:.4f} | {s.recall:.4f} | {s.f1:.4f} | {s.baskets} |"
        for name, s in evaluation.per_class.items()
    )
    return f"""# Model card: price sensitivity of baskets

**What it does.** Predicts whether a basket is of Low, Medium or High price sensitivity from its lines (product,
quantity, spend), the time and the store. A random forest over basket aggregates and the *latent affinity* of each
product, which is learned from labelled baskets by expectation-maximisation.

**What it does not do.** It recovers the retailer's own, product-driven classification of baskets; it does not predict
how shoppers react to prices. It knows nothing about products that it never saw: a basket without a known product is
answered `Unclassified`. No customer attribute is used.

**Data.** Shop weeks {evaluation.weeks[0]} to {evaluation.weeks[-1]} ({len(evaluation.weeks)}), split by customer
70/15/15; labels LA = High, MM = Medium, UM = Low; XX baskets are outside the figures. {_leaks(evaluation)}

## Figures

{_headline(evaluation)}

| class | precision | recall | F1 | baskets |
|---|---|---|---|---|
{classes}

| ladder | accuracy | macro F1 |
|---|---|---|
{ladder}

{_control(evaluation)}

{_later(evaluation)}

{_champion(evaluation)}

Expected calibration error {evaluation.calibration_error:.4f}.

## Gate

{gate}

## Provenance

Bundle `{evaluation.bundle_digest}`, gold `{evaluation.gold_digest}`, {evaluation.products} products,
hyperparameters {", ".join(f"{name}={value}" for name, value in evaluation.hyperparameters.items())}.
"""


def _verdict(evaluation: Evaluation) -> str:
    gate = evaluation.gate
    if gate is None:
        return ""
    rows = "".join(
        f"<tr><td>{'passed' if r.passed else 'FAILED'}</td><td>{escape(r.rule)}</td><td>{escape(r.detail)}</td></tr>"
        for r in gate.rules
    )
    word = "passed" if gate.passed else "failed"
    return f'<p class="verdict {word}">The gate {word}.</p>\n<table class="rules">{rows}</table>'


def _headline(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.baskets} baskets of customers that training never saw: accuracy {evaluation.accuracy:.4f} "
        f"({_range(evaluation.accuracy_interval)}), macro F1 {evaluation.macro_f1:.4f} "
        f"({_range(evaluation.macro_f1_interval)}); in brackets 95 % bootstrap intervals."
    )


def _control(evaluation: Evaluation) -> str:
    control = evaluation.control
    return (
        f"Control: the same training on shuffled labels reaches accuracy {control.accuracy:.4f}, always answering the "
        f"most frequent label {control.majority:.4f}."
    )


def _champion(evaluation: Evaluation) -> str:
    champion = evaluation.champion
    if champion is None:
        return "There is no champion yet."
    if champion.accuracy_difference is None or champion.accuracy_difference_interval is None:
        return champion.note[0].upper() + champion.note[1:]
    return (
        f"Champion {champion.bundle_digest}, {champion.note}: accuracy {champion.accuracy:.4f}, macro F1 "
        f"{champion.macro_f1:.4f}; the candidate's accuracy differs by {champion.accuracy_difference:+.4f} "
        f"(paired interval {_range(champion.accuracy_difference_interval)})."
    )


def _later(evaluation: Evaluation) -> str:
    later = evaluation.later_weeks
    if later is None:
        return "No later-weeks test: it needs at least six weeks."
    everyone, new = later.all_customers, later.new_customers
    return (
        f"Later weeks: trained on {later.training_weeks[0]} to {later.training_weeks[-1]} and scored on "
        f"{later.weeks[0]} to {later.weeks[-1]}, which that training did not see: accuracy {everyone.accuracy:.4f} "
        f"({_range(later.all_customers_interval)}), macro F1 {everyone.macro_f1:.4f} on {everyone.baskets} baskets; "
        f"new customers only: {new.accuracy:.4f}, {new.macro_f1:.4f} on {new.baskets}. "
        f"{later.clones_dropped} copies of earlier baskets were left out."
    )


def _leaks(evaluation: Evaluation) -> str:
    leaks = evaluation.leaks
    return (
        f"In more than one split: {leaks.customers_in_two_splits} customers, {leaks.fingerprints_in_two_splits} "
        f"baskets' contents of five lines or more. Copies inside a split: {leaks.clones}."
    )


def _per_class(evaluation: Evaluation) -> pd.DataFrame:
    rows = {name: score.model_dump() for name, score in evaluation.per_class.items()}
    return pd.DataFrame.from_dict(rows, orient="index").reset_index(names="label")


def _ladder(evaluation: Evaluation) -> pd.DataFrame:
    rows = [(name.replace("_", " "), *figures) for name, figures in evaluation.ladder.items()]
    return pd.DataFrame(rows, columns=["model", "accuracy", "macro F1"])


def _groups(groups: list[GroupScore]) -> pd.DataFrame:
    return pd.DataFrame([group.model_dump() for group in groups])


def _counts(evaluation: Evaluation) -> pd.DataFrame:
    return pd.DataFrame.from_dict(evaluation.counts, orient="index").reset_index(names="split")


def _provenance(evaluation: Evaluation) -> pd.DataFrame:
    rows = {
        "bundle": evaluation.bundle_digest,
        "gold": evaluation.gold_digest,
        "weeks": ", ".join(evaluation.weeks),
        "products": str(evaluation.products),
        "learned cuts": _range(evaluation.cuts),
        **{name: str(value) for name, value in evaluation.hyperparameters.items()},
    }
    return pd.DataFrame(list(rows.items()), columns=["what", "value"])


def _table(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0, escape=True, float_format=lambda value: f"{value:.4f}")


def _range(interval: Interval) -> str:
    return f"{interval[0]:+.4f} to {interval[1]:+.4f}" if interval[0] < 0 else f"{interval[0]:.4f} to {interval[1]:.4f}"
