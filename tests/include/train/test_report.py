"""The report and the model card say what the evidence says, and load nothing from anywhere."""

import re

import pytest

from include.train import model_card, plots, report
from include.train.evidence import GateResult, RuleResult
from tests.include.train.evidence import champion, evaluation

OUT_OF_TIME = {
    "training_weeks": ["200607", "200609"],
    "weeks": ["200610", "200611"],
    "clones_dropped": 3,
    "all_customers": {"group": "all customers", "baskets": 40, "accuracy": 0.97, "macro_f1": 0.96},
    "all_customers_interval": (0.95, 0.98),
    "new_customers": {"group": "new customers", "baskets": 12, "accuracy": 0.93, "macro_f1": 0.92},
}
FAILED = GateResult(passed=False, rules=[RuleResult(rule="macro_f1", passed=False, detail="a <b> short")])


@pytest.fixture(scope="module")
def charts():
    return plots.draw(evaluation())


def test_charts_are_png(charts):
    assert set(charts) == {"by_lines.png", "calibration.png", "confusion.png", "ladder.png"}
    assert all(data.startswith(b"\x89PNG") for data in charts.values())


def test_charts_repeat_byte_for_byte(charts):
    assert plots.draw(evaluation()) == charts


def test_the_page_is_one_file(charts):
    page = report.html(evaluation(), charts)
    assert page.count("data:image/png;base64,") == len(charts)
    assert not re.search(r"""(src|href)="(?!data:)""", page)


def test_the_page_shows_a_failed_gate_and_escapes_its_text(charts):
    page = report.html(evaluation(gate=FAILED), charts)
    assert "The gate failed." in page
    assert "a &lt;b&gt; short" in page


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "There is no champion yet."),
        ({"champion": champion()}, "accuracy differs by +0.0000 (paired interval -0.0100 to +0.0100)"),
        ({"champion": {"comparable": False, "note": "the champion is old"}}, "The champion is old"),
        ({}, "No out-of-time test: it needs at least 6 weeks."),
        (
            {"later_weeks": OUT_OF_TIME},
            "trained on weeks 200607 to 200609 and measured on weeks 200610 to 200611: accuracy 0.9700 (0.9500 to "
            "0.9800), macro F1 0.9600 on 40 baskets; new customers only: 0.9300, 0.9200 on 12. 3 duplicates",
        ),
        ({}, "always predicting the most frequent label reaches 0.6200"),
        ({}, "In more than one split: 0 customers, 0 contents of baskets"),
        ({}, "accuracy 0.9800 (0.9600 to 0.9900), macro F1 0.9700"),
        ({}, "| product_groups | 0.7000 | 0.6000 |"),
        ({"gate": FAILED}, "- **failed** `macro_f1`: a <b> short"),
        ({}, "Bundle `" + "b" * 64),
    ],
)
def test_the_model_card_says(changes, text):
    assert text in model_card.markdown(evaluation(**changes))
