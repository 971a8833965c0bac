"""A small week by the generator, and a base folder for the jobs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from include.etl.__main__ import main
from include.settings import settings
from local.data import weeks

WEEK = "200607"


@pytest.fixture(scope="session")
def text() -> str:
    """A week of some 1,900 lines as the generator writes it."""
    shop = weeks.retailer(1, 300 / weeks.BASKETS_A_WEEK)
    rows = weeks.as_seg(weeks.frame(shop, WEEK, weeks.sales(shop, WEEK)))
    return rows.write_csv(null_value='""', quote_style="never")


@pytest.fixture
def lines(text) -> list[str]:
    """The header and the rows, for a test to change; row n of the file is lines[n - 1]."""
    return text.splitlines()


@pytest.fixture
def base(tmp_path) -> Path:
    (tmp_path / "processing" / "input" / "raw").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def silver(base) -> Path:
    return base / "processing" / "output" / "silver"


@pytest.fixture
def gold(base) -> Path:
    return base / "processing" / "output" / "gold"


@pytest.fixture
def clean(base) -> Callable[..., int]:
    """Runs the cleaning job on a file's content; the exit code."""

    def run(content: str | bytes, name: str = "transactions.csv", week: str = WEEK) -> int:
        path = base / "processing" / "input" / "raw" / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return main(["clean", "--shop-week", week, "--base", str(base)])

    return run


@pytest.fixture
def split(base, silver) -> Callable[..., int]:
    """Runs the splitting job on what the cleaning job wrote; the exit code."""

    def run(week: str = WEEK) -> int:
        source = base / "processing" / "input" / "silver"
        if silver.exists() and not source.exists():
            silver.rename(source)
        return main(["split", "--shop-week", week, "--base", str(base)])

    return run


@pytest.fixture
def tolerance(monkeypatch) -> Callable[[float], None]:
    """Sets the row tolerance."""

    def put(share: float) -> None:
        monkeypatch.setenv("RETAIL_ROW_TOLERANCE", str(share))
        settings.cache_clear()

    yield put
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def failure(base) -> Callable[[], str]:
    """What the failed job left as its reason."""
    return lambda: (base / "output" / "failure").read_text()
