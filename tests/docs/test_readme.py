"""README.md and README.vi.md say the same: the same structure, commands, links and pictures."""

import re

import pytest

from local.stack.config import ROOT

ENGLISH = (ROOT / "README.md").read_text()
VIETNAMESE = (ROOT / "README.vi.md").read_text()
SWITCH = {"README.md", "README.vi.md"}
"""The links from one language to the other."""


def headings(text: str) -> list[int]:
    """Return the level of each heading, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", outside_code(text), re.MULTILINE)]


def blocks(text: str) -> list[str]:
    """Return the code blocks, fenced and indented."""
    return re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL) + re.findall(r"^    \S.*$", text, re.MULTILINE)


def outside_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return what stands in backticks, sorted: languages differ in word order."""
    return sorted(re.findall(r"`([^`\n]+)`", outside_code(text)))


def links(text: str) -> list[str]:
    return sorted(target for target in re.findall(r"\]\(([^)]+)\)", text) if target not in SWITCH)


def rows(text: str) -> int:
    return len(re.findall(r"^\|", text, re.MULTILINE))


def items(text: str) -> int:
    return len(re.findall(r"^(?:- |\d+\. )", text, re.MULTILINE))


PARTS = [headings, blocks, commands, links, rows, items]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_both_languages_have_the_same(part):
    assert part(ENGLISH), "nothing to compare"
    assert part(VIETNAMESE) == part(ENGLISH)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (headings, "\n## One more\n"),
        (blocks, "\n    make other\n"),
        (commands, "\n`make other`\n"),
        (links, "\n[page](other.md)\n"),
        (rows, "\n| a | row |\n"),
        (items, "\n- a point\n"),
    ],
)
def test_a_change_in_one_language_is_noticed(part, change):
    assert part(VIETNAMESE + change) != part(ENGLISH)


def test_each_language_links_to_the_other():
    assert "(README.vi.md)" in ENGLISH
    assert "(README.md)" in VIETNAMESE
