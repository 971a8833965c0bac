"""The synthetic files: same bytes by seed, the public form, the public marginals."""

import gzip
import hashlib

import polars as pl
import pytest

from include.etl.columns import HEADERS
from local.data import weeks
from local.data.__main__ import main

SMALL = ("--lines", "2000")


def digests(folder) -> dict[str, str]:
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    assert found
    return found


@pytest.fixture(scope="module")
def rows(weekly_files) -> pl.DataFrame:
    rows = pl.concat(pl.read_csv(path, null_values="") for path in sorted(weekly_files.glob("*.gz")))
    assert rows.height > 100_000
    return rows


@pytest.fixture(scope="module")
def baskets(rows) -> pl.DataFrame:
    return rows.group_by("BASKET_ID").agg(
        pl.all().exclude("QUANTITY", "PROD_CODE").first(), pl.col("QUANTITY").sum(), lines=pl.len()
    )


def shares(baskets: pl.DataFrame, column: str) -> dict[str, float]:
    return dict(baskets[column].value_counts(normalize=True).rows())


def test_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        main(["--out", str(tmp_path / name), "--weeks", "2", *SMALL])
    main(["--out", str(tmp_path / "other"), "--weeks", "2", "--seed", "2", *SMALL])
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert digests(tmp_path / "one").keys() == digests(tmp_path / "other").keys()
    assert set(digests(tmp_path / "one").values()).isdisjoint(digests(tmp_path / "other").values())


def test_a_week_does_not_depend_on_how_many_are_made(tmp_path):
    main(["--out", str(tmp_path / "many"), "--weeks", "3", *SMALL])
    main(["--out", str(tmp_path / "one"), "--weeks", "1", "--first", "200608", *SMALL])
    name = "transactions_200608.csv.gz"
    assert digests(tmp_path / "one")[name] == digests(tmp_path / "many")[name]


@pytest.mark.parametrize(("header", "segment"), [("seg", "seg_1"), ("cust", "CUST_PRICE_SENSITIVITY")])
def test_only_the_public_columns_are_written(tmp_path, header, segment):
    main(["--out", str(tmp_path), "--weeks", "1", "--header", header, *SMALL])
    with gzip.open(tmp_path / "transactions_200607.csv.gz", "rt") as file:
        names = tuple(file.readline().rstrip("\n").split(","))
    assert names in HEADERS.values()
    assert segment in names


def test_blanks_are_quoted_and_nothing_else(tmp_path):
    main(["--out", str(tmp_path), "--weeks", "1", *SMALL])
    text = gzip.decompress((tmp_path / "transactions_200607.csv.gz").read_bytes()).decode()
    assert ',"","","",' in text
    assert '"' not in text.replace('""', "")
    assert "\r" not in text


def test_weeks_follow_the_retailers_calendar():
    assert weeks.following("200651", 4) == ["200651", "200652", "200701", "200702"]
    assert f"{weeks.monday('200607'):%Y%m%d}" == "20060410"
    assert f"{weeks.monday('200819'):%Y%m%d}" == "20080630"
    with pytest.raises(ValueError, match="200901 is not a week of the calendar"):
        weeks.following("200852", 2)


def test_dates_lie_in_their_week_and_fit_the_weekday(rows):
    dates = rows["SHOP_DATE"].cast(pl.String).str.to_date("%Y%m%d")
    assert (dates.dt.weekday() % 7 + 1 == rows["SHOP_WEEKDAY"]).all()
    days = zip(rows["SHOP_WEEK"].to_list()[::5000], dates.to_list()[::5000], strict=True)
    offsets = [(day - weeks.monday(str(week))).days for week, day in days]
    assert set(offsets) == set(range(7))


def test_a_basket_is_of_one_week_and_ids_are_new_every_week(rows):
    assert (rows.group_by("BASKET_ID").agg(pl.col("SHOP_WEEK").n_unique())["SHOP_WEEK"] == 1).all()
    assert rows.select("BASKET_ID", "PROD_CODE").is_duplicated().sum() == 0


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("BASKET_PRICE_SENSITIVITY", {"LA": 0.229, "MM": 0.512, "UM": 0.241, "XX": 0.019}),
        ("BASKET_SIZE", {"S": 0.262, "M": 0.404, "L": 0.334}),
        ("BASKET_TYPE", {"Small Shop": 0.552, "Top Up": 0.328, "Full Shop": 0.107, "XX": 0.013}),
        ("BASKET_DOMINANT_MISSION", {"Fresh": 0.508, "Mixed": 0.239, "Grocery": 0.189, "Nonfood": 0.052, "XX": 0.013}),
        ("STORE_FORMAT", {"LS": 0.580, "MS": 0.251, "SS": 0.098, "XLS": 0.071}),
    ],
)
def test_shares_are_those_of_the_public_data(baskets, column, expected):
    assert shares(baskets, column) == pytest.approx(expected, abs=0.03)


def test_sizes_and_blanks_are_those_of_the_public_data(rows, baskets):
    assert baskets["lines"].mean() == pytest.approx(6.41, abs=0.3)
    assert baskets["lines"].median() == 4
    assert baskets["lines"].quantile(0.9) == pytest.approx(16, abs=1)
    assert baskets["CUST_CODE"].is_null().mean() == pytest.approx(0.205, abs=0.03)
    assert rows["SPEND"].median() == pytest.approx(1.23, abs=0.15)
    assert not (rows["QUANTITY"] == 2).any()


def test_clones_repeat_earlier_baskets_under_new_ids(tmp_path):
    main(["--out", str(tmp_path), "--weeks", "4", "--clones", *SMALL])
    first, last = (
        pl.read_csv(tmp_path / f"transactions_{week}.csv.gz", null_values="")
        .sort("PROD_CODE")
        .group_by("BASKET_ID")
        .agg(pl.col("CUST_CODE", "STORE_CODE", "SHOP_HOUR").first(), pl.col("PROD_CODE", "QUANTITY", "SPEND"))
        .filter((pl.col("PROD_CODE").list.len() >= 5) & pl.col("CUST_CODE").is_not_null())
        for week in ("200607", "200610")
    )
    content = ["CUST_CODE", "STORE_CODE", "SHOP_HOUR", "PROD_CODE", "QUANTITY", "SPEND"]
    copies = last.join(first, on=content, how="semi")
    assert copies.height / last.height > 0.7
    assert last.join(first, on="BASKET_ID", how="semi").is_empty()


def test_number_of_lines_can_be_chosen(tmp_path):
    main(["--out", str(tmp_path), "--weeks", "1", "--lines", "60000"])
    assert pl.read_csv(tmp_path / "transactions_200607.csv.gz").height == pytest.approx(60_000, rel=0.03)
