"""Building: cleaning and splitting as one job, whose output is that of the two commands."""

import hashlib
from pathlib import Path

import pytest

from include.etl.__main__ import main
from tests.include.etl.conftest import WEEK


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def build(base):
    """Runs the job on a file's content; the exit code."""

    def run(content: str) -> int:
        (base / "processing" / "input" / "raw" / "transactions.csv").write_text(content)
        return main(["build", "--shop-week", WEEK, "--base", str(base)])

    return run


def test_build_writes_what_clean_and_split_write(build, clean, split, text, silver, gold, base):
    assert build(text) == 0
    built = digests(silver), digests(gold)
    assert clean(text) == 0
    cleaned = digests(silver)
    assert split() == 0
    assert built == (cleaned, digests(gold))
    assert set(cleaned) == {"part-0.parquet", "_quality.json"}
    assert f"_manifest/{WEEK}.json" in built[1]


def test_failed_cleaning_ends_the_job_and_names_its_step(build, base, gold):
    assert build("no header\n1,2,3\n") == 1
    assert (base / "output" / "failure").read_text().startswith(f"clean {WEEK}: ")
    assert not gold.exists(), "nothing is split when cleaning failed"


def test_failed_splitting_names_its_step_and_leaves_no_gold(build, base, gold, text, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("include.etl.split.pl.concat", full)
    assert build(text) == 1
    assert (
        base / "output" / "failure"
    ).read_text() == f"split {WEEK} failed unexpectedly: OSError: no space left on device\n"
    assert list(gold.iterdir()) == []
