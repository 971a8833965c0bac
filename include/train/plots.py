"""The charts of an evaluation as PNG bytes. Equal evidence gives equal bytes."""

import io
from collections.abc import Callable
from typing import Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from include.baskets.schema import LABELS, UNCLASSIFIED
from include.train.evidence import Evaluation

_BLUE: Final = "#2b6cb0"
_ORANGE: Final = "#dd6b20"
_GREY: Final = "#a0aec0"
_DPI: Final = 110


def draw(evaluation: Evaluation) -> dict[str, bytes]:
    """Return file name -> PNG, in the order in which the report shows them."""
    return {name: _png(draw_chart, evaluation) for name, draw_chart in _CHARTS.items()}


def _baselines(axes: Axes, evaluation: Evaluation) -> None:
    names = list(evaluation.ladder)
    positions = range(len(names))
    for shift, part, color, title in ((-0.2, 0, _BLUE, "accuracy"), (0.2, 1, _ORANGE, "macro F1")):
        values = [evaluation.ladder[name][part] for name in names]
        bars = axes.bar([x + shift for x in positions], values, 0.4, color=color, label=title)
        axes.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=8)
    axes.set_xticks(list(positions), [name.replace("_", " ") for name in names])
    axes.set_ylim(0, 1.1)
    axes.set_title("Model and baselines")
    axes.legend(loc="upper left", frameon=False)


def _confusion(axes: Axes, evaluation: Evaluation) -> None:
    columns = (*LABELS, UNCLASSIFIED)
    rows = [[evaluation.confusion[label][answer] for answer in columns] for label in LABELS]
    shares = [[count / max(sum(row), 1) for count in row] for row in rows]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(rows):
        for x, count in enumerate(row):
            share = shares[y][x]
            color = "white" if share > 0.5 else "black"
            axes.text(x, y, f"{count}\n{share:.1%}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true label")
    axes.set_title("Confusion matrix of the test split")


def _calibration(axes: Axes, evaluation: Evaluation) -> None:
    bins = evaluation.calibration
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    axes.plot([b.confidence for b in bins], [b.accuracy for b in bins], color=_BLUE, marker="o")
    for b in bins:
        axes.annotate(
            f"{b.baskets}", (b.confidence, b.accuracy), textcoords="offset points", xytext=(4, -12), fontsize=8
        )
    axes.set_xlim(0.3, 1.02)
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("confidence (mean of the bin)")
    axes.set_ylabel("accuracy")
    axes.set_title(f"Calibration, expected calibration error {evaluation.calibration_error:.3f}")


def _by_lines(axes: Axes, evaluation: Evaluation) -> None:
    groups = evaluation.by_lines
    bars = axes.bar([g.group for g in groups], [g.accuracy for g in groups], color=_BLUE)
    axes.bar_label(bars, [f"{g.accuracy:.3f}\nn={g.baskets}" for g in groups], fontsize=8)
    axes.set_ylim(0, 1.15)
    axes.set_xlabel("lines in the basket")
    axes.set_ylabel("accuracy")
    axes.set_title("Accuracy by number of lines")


_CHARTS: Final[dict[str, Callable[[Axes, Evaluation], None]]] = {
    "ladder.png": _baselines,
    "confusion.png": _confusion,
    "calibration.png": _calibration,
    "by_lines.png": _by_lines,
}


def _png(draw_chart: Callable[[Axes, Evaluation], None], evaluation: Evaluation) -> bytes:
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    draw_chart(axes, evaluation)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_DPI)
    plt.close(figure)
    return file.getvalue()
