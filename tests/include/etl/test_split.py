"""Silver to gold: one row a basket, in the split of its customer, under a manifest."""

import hashlib
import json
from collections import Counter

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import lake
from include.etl.columns import GOLD
from include.etl.gold import splits
from include.settings import settings
from include.train import data
from tests.include.etl.conftest import WEEK
from tests.include.etl.weekly import changed, joined, large_basket, value


@pytest.fixture
def manifest(gold):
    return lambda: json.loads((gold / "_manifest" / f"{WEEK}.json").read_text())


@pytest.fixture
def everything(gold):
    """Gold of all splits, with the column split."""

    def read() -> pl.DataFrame:
        parts = [
            pl.read_parquet(gold / lake.gold(split, WEEK).removeprefix("gold/"), hive_partitioning=False).with_columns(
                split=pl.lit(split)
            )
            for split in lake.SPLITS
        ]
        return pl.concat(parts)

    return read


def test_gold_has_every_basket_once_with_its_lines(clean, split, text, lines, gold, everything):
    assert clean(text) == split() == 0
    for name in lake.SPLITS:
        assert pq.read_schema(gold / lake.gold(name, WEEK).removeprefix("gold/")).equals(GOLD)
    rows = everything()
    assert set(rows["BASKET_ID"]) == {int(value(line, "BASKET_ID")) for line in lines[1:]}
    assert rows["BASKET_ID"].is_unique().all()
    exploded = rows.explode("PROD_CODE", "QUANTITY", "SPEND_PENCE")
    told = {(row["BASKET_ID"], row["PROD_CODE"], row["QUANTITY"], row["SPEND_PENCE"]) for row in exploded.to_dicts()}
    assert told == {
        (
            int(value(line, "BASKET_ID")),
            value(line, "PROD_CODE"),
            int(value(line, "QUANTITY")),
            round(float(value(line, "SPEND")) * 100),
        )
        for line in lines[1:]
    }


def test_labels_are_mapped(clean, split, text, lines, everything):
    clean(text)
    split()
    label = {"LA": "High", "MM": "Medium", "UM": "Low", "XX": None}
    expected = {int(value(x, "BASKET_ID")): label[value(x, "BASKET_PRICE_SENSITIVITY")] for x in lines[1:]}
    assert dict(everything().select("BASKET_ID", "label").rows()) == expected


def test_baskets_and_their_lines_are_in_order(clean, split, text, everything):
    clean(text)
    split()
    parts = everything().partition_by("split")
    assert len(parts) == len(lake.SPLITS)
    for part in parts:
        assert part["BASKET_ID"].is_sorted()
        assert all(codes == sorted(codes) for codes in part["PROD_CODE"].to_list())


def test_manifest_names_inputs_outputs_and_counts(clean, split, text, base, gold, manifest, everything):
    clean(text)
    split()
    raw = hashlib.sha256((base / "processing" / "input" / "raw" / "transactions.csv").read_bytes()).hexdigest()
    assert manifest()["inputs"][lake.raw(WEEK, gzipped=False)] == raw
    assert lake.silver(WEEK) in manifest()["inputs"]
    assert manifest()["outputs"] == {
        key: hashlib.sha256((gold.parent / key).read_bytes()).hexdigest()
        for key in [*(lake.gold(name, WEEK) for name in lake.SPLITS), lake.gold_products(WEEK)]
    }
    counted = Counter((row["split"], row["label"] or "Unclassified") for row in everything().to_dicts())
    assert {
        (name, label): number for name, of in manifest()["counts"].items() for label, number in of.items() if number
    } == dict(counted)
    assert manifest()["baskets"] == counted.total()
    assert manifest()["rows"] == text.count("\n") - 1


def test_training_reads_what_the_job_wrote(clean, split, text, gold):
    clean(text)
    split()
    manifests = data.read_manifests(gold / "_manifest")
    read = {name: data.read_split(gold / f"split={name}", name, manifests) for name in lake.SPLITS}
    assert sum(len(part) for part in read.values()) == len({line.split(",")[14] for line in text.splitlines()[1:]})
    data.refuse_leaks(data.leaks_between(read.values()))
    groups = data.read_groups(gold / "_products", manifests, "PROD_CODE_40")
    assert groups.keys() == {line.split(",")[6] for line in text.splitlines()[1:]}
    assert set(groups.values()) <= {f"D0000{n}" for n in range(1, 10)}


def test_customers_are_in_one_split_each(clean, split, text, everything):
    clean(text)
    split()
    named = everything().filter(pl.col("CUST_CODE").is_not_null())
    assert named["CUST_CODE"].n_unique() > 20
    assert (named.group_by("CUST_CODE").agg(pl.col("split").n_unique())["split"] == 1).all()
    shares = dict(everything()["split"].value_counts(normalize=True).rows())
    assert shares == pytest.approx({"train": 0.70, "validation": 0.15, "test": 0.15}, abs=0.1)


def test_running_again_gives_the_same_bytes(clean, split, text, base, gold):
    def digests():
        return {path.relative_to(gold): path.read_bytes() for path in gold.rglob("*") if path.is_file()}

    clean(text)
    split()
    first = digests()
    assert split() == 0
    assert digests() == first


def test_copy_of_an_anonymous_basket_stays_on_its_originals_side(clean, split, lines, everything):
    places = large_basket(lines)
    for place in places:
        blank = '""'
        lines[place] = changed(lines[place], CUST_CODE=blank, CUST_PRICE_SENSITIVITY=blank, CUST_LIFESTAGE=blank)
    lines += [changed(lines[place], BASKET_ID=990000000000001, SHOP_DATE=20060416, SHOP_WEEKDAY=1) for place in places]
    original = int(value(lines[places[0]], "BASKET_ID"))
    assert clean(joined(lines)) == split() == 0
    pair = everything().filter(pl.col("BASKET_ID").is_in([original, 990000000000001]))
    assert pair.height == 2
    assert pair["fingerprint"].n_unique() == 1
    assert pair["split"].n_unique() == 1


def splits_of(owners: list[str], salt: str) -> list[str]:
    return splits(pl.DataFrame({"CUST_CODE": owners, "fingerprint": ["f"] * len(owners)}), salt).to_list()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.text(min_size=1))
def test_split_depends_on_owner_and_salt_alone(owners, salt):
    hashes = [hashlib.sha256((salt + owner).encode()).digest() for owner in owners]
    buckets = [int.from_bytes(digest[:8]) % 10_000 for digest in hashes]
    expected = ["train" if bucket < 7_000 else "validation" if bucket < 8_500 else "test" for bucket in buckets]
    assert splits_of(owners, salt) == expected


def test_shares_of_the_splits():
    counted = Counter(splits_of([f"CUST{number:010d}" for number in range(20_000)], "salt"))
    assert counted["train"] / 20_000 == pytest.approx(0.70, abs=0.01)
    assert counted["test"] / 20_000 == pytest.approx(0.15, abs=0.01)


def test_another_salt_gives_other_splits(clean, split, text, everything, monkeypatch):
    clean(text)
    split()
    before = dict(everything().select("BASKET_ID", "split").rows())
    monkeypatch.setenv("RETAIL_SPLIT_SALT", "another")
    settings.cache_clear()
    assert split() == 0
    monkeypatch.undo()
    settings.cache_clear()
    assert dict(everything().select("BASKET_ID", "split").rows()) != before


def test_silver_of_another_week_is_refused(clean, split, text, gold, failure):
    clean(text)
    assert split("200609") == 1
    assert "is of week 200607, not of 200609" in failure()
    assert not gold.exists()


def test_changed_silver_is_refused(clean, split, text, silver, gold, failure):
    clean(text)
    part = silver / "part-0.parquet"
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    assert split() == 1
    assert "the file was changed. Run clean for week 200607 again" in failure()
    assert not gold.exists()


def test_missing_silver_is_refused(split, base, failure):
    assert split() == 1
    assert "lacks part-0.parquet: run clean for week 200607 first" in failure()
