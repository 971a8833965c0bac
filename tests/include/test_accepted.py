"""A vulnerability is accepted by its id, with a reason, until a day."""

import datetime as dt

import pytest
import yaml

from include import accepted

DAY = dt.date(2026, 12, 1)


def entry(reason: str, **more: str) -> str:
    return f"ignore:\n  - { ({'vulnerability': 'CVE-2026-1', 'reason': reason} | more)!r}\n"


@pytest.fixture
def listed(tmp_path, monkeypatch):
    monkeypatch.setattr(accepted, "LIST", tmp_path / "accepted.yaml")
    return accepted.LIST


@pytest.mark.parametrize("last", ["2026-12-01", "2027-03-01"])
def test_it_is_accepted_until_its_day(listed, last):
    listed.write_text(entry(f"until {last}: no fix yet"))
    assert accepted.accepted(DAY) == {"CVE-2026-1"}
    assert accepted.expired(DAY) == set()


@pytest.mark.parametrize("last", ["2026-11-30", "2027-03-02"])
def test_it_is_not_after_its_day_nor_for_longer_than_ninety_days(listed, last):
    listed.write_text(entry(f"until {last}: no fix yet"))
    assert accepted.accepted(DAY) == set()
    assert accepted.expired(DAY) == {"CVE-2026-1"}


@pytest.mark.parametrize(
    "text",
    [
        entry("no fix yet"),
        entry("until 2026-12-31:"),
        entry("until 2026-13-31: no fix yet"),
        entry("until 2026-12-31: no fix yet", namespace="debian:12"),
        entry("until 2026-12-31: no fix yet", vulnerability=""),
        'ignore:\n  - {fix-state: not-fixed, reason: "until 2026-12-31: no fix yet"}\n',
    ],
)
def test_an_entry_without_id_reason_or_day_or_with_a_rule_for_many_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a vulnerability|month must be"):
        accepted.read(text)


def test_every_entry_of_the_projects_own_list_is_read():
    text = accepted.LIST.read_text()
    assert accepted.read(text).keys() == {entry["vulnerability"] for entry in yaml.safe_load(text)["ignore"]}
