"""Raw to silver: what is written, and what happens to rows and files that break the rules."""

import gzip
import json

import polars as pl
import pyarrow.parquet as pq
import pytest

from include.etl import raw_file
from include.etl.__main__ import main
from include.etl.columns import HEADERS, SILVER
from tests.include.etl.conftest import WEEK
from tests.include.etl.weekly import changed, joined, large_basket, of_basket, value


@pytest.fixture
def quality(silver):
    return lambda: json.loads((silver / "_quality.json").read_text())


@pytest.fixture
def rejected(silver):
    return lambda: pl.read_parquet(silver / "_rejected.parquet")


def test_silver_has_every_line_typed_and_in_order(clean, text, lines, silver, quality):
    assert clean(text) == 0
    assert pq.read_schema(silver / "part-0.parquet").equals(SILVER)
    rows = pl.read_parquet(silver / "part-0.parquet")
    assert rows.height == quality()["rows"] == quality()["accepted"] == len(lines) - 1
    assert rows.equals(rows.sort("BASKET_ID", "PROD_CODE"))
    assert quality()["baskets"] == rows["BASKET_ID"].n_unique() == sum(quality()["labels"].values())
    assert not (silver / "_rejected.parquet").exists()


def test_spend_is_exact(clean, text, lines, silver):
    clean(text)
    pence = sum(round(float(value(line, "SPEND")) * 100) for line in lines[1:])
    assert pl.read_parquet(silver / "part-0.parquet")["SPEND_PENCE"].sum() == pence


def test_blanks_become_null(clean, text, lines, silver):
    clean(text)
    blanks = sum(value(line, "CUST_CODE") == '""' for line in lines[1:])
    assert pl.read_parquet(silver / "part-0.parquet")["CUST_CODE"].null_count() == blanks > 0


@pytest.mark.parametrize(
    "variant",
    [
        lambda text: ("transactions.csv.gz", gzip.compress(text.encode())),
        lambda text: ("transactions.csv", text.replace("\n", "\r\n").encode()),
        lambda text: ("transactions.csv", b"\xef\xbb\xbf" + text.encode()),
        lambda text: ("transactions.csv", text.rstrip("\n").encode()),
        lambda text: ("transactions.csv", (text + "\n\n").encode()),
        lambda text: ("transactions.csv", text.replace('""', "").encode()),
    ],
    ids=["gzip", "CRLF", "BOM", "no last newline", "blank lines at the end", "blanks without quotes"],
)
def test_ways_of_writing_the_same_rows_give_the_same_silver(clean, text, silver, variant, base):
    clean(text)
    expected = (silver / "part-0.parquet").read_bytes()
    (base / "processing" / "input" / "raw" / "transactions.csv").unlink()
    name, content = variant(text)
    assert clean(content, name) == 0
    assert (silver / "part-0.parquet").read_bytes() == expected


def test_both_headers_give_the_same_silver(clean, text, silver):
    clean(text)
    expected = (silver / "part-0.parquet").read_bytes()
    recoded = pl.read_csv(text.encode(), infer_schema=False).with_columns(
        pl.col("seg_1").replace({"AZ": "LA", "CT": "MM", "BG": "UM", "DY": "XX"}),
        pl.col("seg_2").replace({"AT": "YA", "BU": "OT", "CZ": "OA", "DI": "YF", "EQ": "OF", "FN": "PE"}),
    )
    recoded.columns = HEADERS["CUST_PRICE_SENSITIVITY,CUST_LIFESTAGE"]
    assert clean(recoded.write_csv()) == 0
    assert (silver / "part-0.parquet").read_bytes() == expected


def test_order_of_rows_in_the_file_does_not_matter(clean, lines, silver):
    clean(joined(lines))
    expected = (silver / "part-0.parquet").read_bytes()
    clean(joined([lines[0], *reversed(lines[1:])]))
    assert (silver / "part-0.parquet").read_bytes() == expected


@pytest.mark.parametrize(
    ("range_rows", "key_rows", "baskets"),
    [(200, 4, 300), (1, 1, 60)],  # a range a basket takes its time: as few as make several row groups
    ids=["of some baskets", "of the first basket"],
)
def test_a_file_of_many_blocks_and_ranges_gives_the_same_rows(
    clean, lines, silver, monkeypatch, range_rows, key_rows, baskets
):
    text = first_baskets(lines, baskets)
    clean(text)
    expected = pl.read_parquet(silver / "part-0.parquet")
    assert expected["BASKET_ID"].n_unique() == baskets
    monkeypatch.setattr(raw_file, "BLOCK_BYTES", 5000)
    monkeypatch.setattr("include.etl.external_sort.RANGE_ROWS", range_rows)
    monkeypatch.setattr("include.etl.external_sort.BATCH_ROWS", 16)
    monkeypatch.setattr("include.etl.external_sort.KEY_ROWS", key_rows)
    assert clean(text) == 0
    part = pq.ParquetFile(silver / "part-0.parquet")
    assert part.num_row_groups > 3
    assert pl.read_parquet(silver / "part-0.parquet").equals(expected)
    ids = [set(part.read_row_group(place)["BASKET_ID"].to_pylist()) for place in range(part.num_row_groups)]
    assert sum(map(len, ids)) == len(set().union(*ids))


def first_baskets(lines, count):
    """The file with so many baskets."""
    wanted = list(dict.fromkeys(value(line, "BASKET_ID") for line in lines[1:]))[:count]
    return joined([lines[0], *(line for line in lines[1:] if value(line, "BASKET_ID") in wanted)])


HEADER = joined([",".join(HEADERS["seg_1,seg_2"])])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace("SPEND", "PRICE", 1), "row 1: not the header of a weekly file (column 6 is PRICE"),
        (lambda text: text.replace("seg_1", "CUST_PRICE_SENSITIVITY", 1), "two segment columns are either"),
        (lambda text: text.replace(",STORE_REGION", "", 1), "column 22 is missing, expected STORE_REGION"),
        (lambda text: text.split("\n", 1)[1], "row 1: not the header"),
        (lambda text: "", "is empty"),
        (lambda text: HEADER, "has a header and no rows"),
        (lambda text: text.replace("Top Up", "Top, Up", 1), "23 fields instead of 22"),
        (lambda text: text.rsplit(",", 1)[0], "21 fields instead of 22"),
        (lambda text: text.replace("Top Up", '"Top\nUp"', 1), "fields instead of 22"),
        (lambda text: text.encode().replace(b"Top Up", b"Top\xe9Up", 1), "byte 0xe9 is not UTF-8"),
    ],
    ids=["column", "mixed", "short", "none", "empty", "no rows", "comma", "cut", "newline", "latin-1"],
)  # fmt: skip
def test_file_of_another_form_is_refused(clean, text, silver, failure, damage, said):
    assert clean(damage(text)) == 1
    assert said in failure()
    assert "transactions.csv" in failure()
    assert published(silver) == []


def published(silver):
    """What the job wrote; a file that is refused at its header may be refused before there is a folder."""
    return sorted(path.name for path in silver.rglob("*"))


@pytest.mark.parametrize("damaged", [lambda data: data[:-200], lambda data: data[:-8] + bytes(8)])
def test_damaged_gzip_is_refused(clean, text, silver, failure, damaged):
    assert clean(damaged(gzip.compress(text.encode())), "transactions.csv.gz") == 1
    assert "transactions.csv.gz is truncated or damaged" in failure()
    assert list(silver.iterdir()) == []


def test_ids_that_a_spreadsheet_rounded_are_refused(clean, lines, silver, failure):
    rows = [changed(line, BASKET_ID="9.94E+14") for line in lines[1:]]
    assert clean(joined([lines[0], *rows])) == 1
    assert "row 2: BASKET_ID 9.94E+14 is a rounded number: a spreadsheet saved this file" in failure()
    assert list(silver.iterdir()) == []


def test_missing_file_is_refused(base, failure):
    assert main(["clean", "--shop-week", WEEK, "--base", str(base)]) == 1
    assert "must hold one of transactions.csv and transactions.csv.gz, it holds neither" in failure()


def test_ambiguous_files_are_refused(clean, base, text, failure):
    (base / "processing" / "input" / "raw" / "transactions.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert clean(text) == 1
    assert "must hold one of transactions.csv and transactions.csv.gz" in failure()


BAD_VALUES = [
    ("SHOP_WEEK", "200608", "is another week than 200607"),
    ("SHOP_DATE", "20061399", "must be a date"),
    ("SHOP_WEEKDAY", "8", "must be 1 to 7"),
    ("SHOP_HOUR", "24", "must be 0 to 23"),
    ("SHOP_HOUR", "-1", "must be 0 to 23"),
    ("SHOP_HOUR", "noon", "must be 0 to 23"),
    ("QUANTITY", "0", "must be a whole number from 1"),
    ("QUANTITY", "1.5", "must be a whole number from 1"),
    ("QUANTITY", '""', "must be a whole number from 1"),
    ("SPEND", "-0.01", "must be 0 or more, in whole pence"),
    ("SPEND", "NaN", "must be 0 or more, in whole pence"),
    ("SPEND", "inf", "must be 0 or more, in whole pence"),
    ("SPEND", "0.935", "must be 0 or more, in whole pence"),
    ("PROD_CODE", '""', "must be 1 to 32 characters"),
    ("PROD_CODE_20", '""', "must not be blank"),
    ("BASKET_PRICE_SENSITIVITY", "ZZ", "must be one of LA, MM, UM, XX"),
    ("BASKET_ID", "abc", "must be a whole number from 1"),
    ("STORE_FORMAT", "HUGE", "must be one of"),
    ("STORE_REGION", "east", "must be a letter and two digits"),
    ("STORE_CODE", '""', "must not be blank"),
]


@pytest.mark.parametrize(("column", "bad", "said"), BAD_VALUES, ids=[f"{row[0]} {row[1]}" for row in BAD_VALUES])
def test_a_bad_row_above_the_tolerance_fails_the_week(clean, lines, silver, failure, tolerance, column, bad, said):
    tolerance(0)
    lines[41] = changed(lines[41], **{column: bad})
    assert clean(joined(lines)) == 1
    assert f"transactions.csv: 1 of {len(lines) - 1} rows break a rule" in failure()
    assert f"{column} {said}" in failure()
    assert f"row 42 has {bad.strip(chr(34)) or 'none'}" in failure()
    assert list(silver.iterdir()) == []


OTHER_VALUES = [row for row in BAD_VALUES if row[0] != "BASKET_ID"]


@pytest.mark.parametrize(("column", "bad", "said"), OTHER_VALUES, ids=[f"{row[0]} {row[1]}" for row in OTHER_VALUES])
def test_a_bad_row_below_the_tolerance_is_kept_aside_with_its_basket(
    clean, lines, silver, quality, rejected, tolerance, column, bad, said
):
    tolerance(0.01)
    basket = value(lines[41], "BASKET_ID")
    places = of_basket(lines, basket)
    lines[41] = changed(lines[41], **{column: bad})
    assert clean(joined(lines)) == 0
    assert quality()["rejected"] == len(places)
    assert quality()["accepted"] + quality()["rejected"] == quality()["rows"] == len(lines) - 1
    assert rejected()["row"].to_list() == [place + 1 for place in places]
    assert rejected()["line"].to_list() == [lines[place] for place in places]
    assert rejected().filter(pl.col("row") == 42)["rule"][0].startswith(f"{column} {said}")
    kept = pl.read_parquet(silver / "part-0.parquet")["BASKET_ID"]
    assert len(kept) == quality()["accepted"]
    assert int(basket) not in kept


def test_a_row_without_a_basket_below_the_tolerance_is_kept_aside_alone(clean, lines, quality, rejected, tolerance):
    tolerance(0.01)
    lines[41] = changed(lines[41], BASKET_ID="abc")
    assert clean(joined(lines)) == 0
    assert quality()["rejected"] == 1
    assert quality()["accepted"] + 1 == quality()["rows"] == len(lines) - 1
    assert rejected().rows() == [(42, "BASKET_ID must be a whole number from 1", lines[41])]


def test_duplicate_product_in_a_basket_is_named(clean, lines, failure, silver, tolerance):
    tolerance(0)
    lines.append(lines[9])
    assert clean(joined(lines)) == 1
    assert "PROD_CODE is more than once in its basket: 1 rows" in failure()
    assert value(lines[9], "PROD_CODE") in failure()
    assert list(silver.iterdir()) == []


@pytest.mark.parametrize(
    ("column", "other"),
    [("STORE_CODE", "STORE99999"), ("SHOP_HOUR", "3"), ("CUST_CODE", "CUST9999999999"), ("BASKET_TYPE", '""')],
)
def test_column_that_varies_inside_a_basket_is_named(clean, lines, failure, tolerance, column, other):
    tolerance(0)
    place = large_basket(lines)[2]
    lines[place] = changed(lines[place], **{column: other})
    assert clean(joined(lines)) == 1
    assert f"{column} differs inside its basket" in failure()


def test_basket_that_contradicts_itself_is_kept_aside_whole(clean, lines, quality, rejected, tolerance):
    tolerance(0.01)
    places = large_basket(lines)
    lines[places[1]] = changed(lines[places[1]], STORE_CODE="STORE99999")
    assert clean(joined(lines)) == 0
    assert rejected()["row"].to_list() == [place + 1 for place in places]
    assert quality()["rejected"] == len(places)


def test_file_of_another_week_is_refused(clean, text, failure, silver):
    assert clean(text, week="200609") == 1
    assert "SHOP_WEEK is another week than 200609" in failure()
    assert "row 2 has 200607" in failure()
    assert list(silver.iterdir()) == []


def test_baskets_of_unclassified_products_are_counted(clean, lines, quality):
    basket = value(lines[1], "BASKET_ID")
    clean(joined(lines))
    before = quality()["labels"]
    for place in of_basket(lines, basket):
        lines[place] = changed(lines[place], BASKET_PRICE_SENSITIVITY="XX")
    assert clean(joined(lines)) == 0
    assert quality()["labels"]["Unclassified"] == before["Unclassified"] + 1
    assert sum(quality()["labels"].values()) == sum(before.values())


def test_week_without_a_labelled_basket_is_refused(clean, lines, failure, silver):
    rows = [changed(line, BASKET_PRICE_SENSITIVITY="XX") for line in lines[1:]]
    assert clean(joined([lines[0], *rows])) == 1
    assert "none of its" in failure()
    assert "a model cannot learn from this week" in failure()
    assert list(silver.iterdir()) == []


def test_failed_job_leaves_nothing_behind(clean, lines, base, tolerance):
    tolerance(0)
    lines[5] = changed(lines[5], QUANTITY=0)
    clean(joined(lines))
    files = {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}
    assert files == {"processing/input/raw/transactions.csv", "output/failure"}


def test_week_that_is_none_is_refused(base, capsys):
    with pytest.raises(SystemExit):
        main(["clean", "--shop-week", "200699", "--base", str(base)])
    assert "'200699' is not a shop week" in capsys.readouterr().err
