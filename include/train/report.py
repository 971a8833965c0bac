"""What people read about a candidate: report.html (one file with inline charts), model_card.md and the charts."""

import base64
from html import escape
from pathlib import Path

import pandas as pd

from include.train import model_card, plots, statements
from include.train.evidence import Evaluation, GroupScore

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
    """Write report, model card and charts into an existing folder. The evaluation carries the gate's verdict."""
    charts = plots.draw(evaluation)
    for name, data in charts.items():
        (folder / name).write_bytes(data)
    (folder / "report.html").write_text(html(evaluation, charts), encoding="utf-8")
    (folder / "model_card.md").write_text(model_card.markdown(evaluation), encoding="utf-8")


def html(evaluation: Evaluation, charts: dict[str, bytes]) -> str:
    """Return the whole page, which loads nothing. charts: file name -> PNG."""
    images = "\n".join(
        f'<img alt="{escape(name.removesuffix(".png").replace("_", " "))}" '
        f'src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        for name, data in charts.items()
    )
    sections = [
        ("Test split", _paragraph(statements.headline(evaluation)) + _table(_per_class(evaluation))),
        ("Baselines", _table(_baselines(evaluation)) + _paragraph(statements.control(evaluation))),
        ("Charts", images),
        ("Champion", _paragraph(statements.champion(evaluation))),
        ("Out-of-time test", _paragraph(statements.out_of_time(evaluation))),
        ("By lines in the basket", _table(_groups(evaluation.by_lines))),
        ("By store format", _table(_groups(evaluation.by_store_format))),
        ("Baskets", _table(_counts(evaluation)) + _paragraph(statements.leaks(evaluation))),
        ("Provenance", _table(_provenance(evaluation))),
    ]
    body = "\n".join(f"<h2>{title}</h2>\n{content}" for title, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Model evaluation</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>Price sensitivity of baskets: evaluation of a candidate</h1>\n"
        f"{_verdict(evaluation)}\n{body}\n</body></html>\n"
    )


def _verdict(evaluation: Evaluation) -> str:
    gate = evaluation.gate
    if gate is None:
        return ""
    rows = "".join(
        f"<tr><td>{'passed' if rule.passed else 'FAILED'}</td><td>{escape(rule.rule)}</td>"
        f"<td>{escape(rule.detail)}</td></tr>"
        for rule in gate.rules
    )
    word = "passed" if gate.passed else "failed"
    return f'<p class="verdict {word}">The gate {word}.</p>\n<table class="rules">{rows}</table>'


def _per_class(evaluation: Evaluation) -> pd.DataFrame:
    rows = {name: score.model_dump() for name, score in evaluation.per_class.items()}
    return pd.DataFrame.from_dict(rows, orient="index").reset_index(names="label")


def _baselines(evaluation: Evaluation) -> pd.DataFrame:
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
        "learned cuts": statements.interval(evaluation.cuts),
        **{name: str(value) for name, value in evaluation.hyperparameters.items()},
    }
    return pd.DataFrame(list(rows.items()), columns=["what", "value"])


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _table(frame: pd.DataFrame) -> str:
    table: str = frame.to_html(index=False, border=0, escape=True, float_format=lambda value: f"{value:.4f}")
    return table
