"""Gold is read only as its manifests say, and splits must not share anything."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from include.baskets.schema import UNCLASSIFIED_CODE
from include.train import data
from include.train.errors import GoldError
from tests.include.train.gold import WEEKS, rows_of_week, write_gold, write_week


@pytest.fixture
def own(gold, tmp_path):
    """A copy of gold that a test may damage."""
    return shutil.copytree(gold, tmp_path / "gold")


def read(gold, split="train"):
    return data.read_split(gold / f"split={split}", split, data.read_manifests(gold / "_manifest"))


def part(gold, split="train", week=WEEKS[0]):
    return gold / f"split={split}" / f"shop_week={week}" / "part-0.parquet"


def test_all_weeks_are_read_in_order(splits):
    train = splits["train"]
    assert list(dict.fromkeys(train.week)) == list(WEEKS)
    assert len(train) == sum(train.counts().values())
    assert train.columns.offsets[-1] == len(train.columns.product)


def test_every_basket_of_the_week_is_in_one_split(splits):
    assert sum(len(split) for split in splits.values()) == len(WEEKS) * 900


def test_a_changed_part_is_refused_by_name(own):
    part(own).write_bytes(part(own, week=WEEKS[1]).read_bytes())
    with pytest.raises(GoldError, match=f"its manifest says .* Run the etl for week {WEEKS[0]} again"):
        read(own)


def test_a_missing_part_is_refused(own):
    part(own).unlink()
    with pytest.raises(GoldError, match=f"lacks gold/split=train/shop_week={WEEKS[0]}"):
        read(own)


def test_a_part_without_manifest_is_refused(own):
    (own / "_manifest" / f"{WEEKS[1]}.json").unlink()
    with pytest.raises(GoldError, match="belongs to no week of the manifests"):
        read(own)


def test_a_part_that_the_manifest_does_not_name_is_refused(own):
    manifest = own / "_manifest" / f"{WEEKS[0]}.json"
    manifest.write_text(json.dumps({"shop_week": WEEKS[0], "outputs": {}}))
    with pytest.raises(GoldError, match="does not name gold/split=train"):
        read(own)


@pytest.mark.parametrize("content", ["", "[]", '{"shop_week": "2006"}', '{"shop_week": "200607"}'])
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / "200607.json").write_text(content)
    with pytest.raises(GoldError, match="is not a manifest"):
        data.read_manifests(tmp_path)


def test_no_manifest_at_all_is_refused(tmp_path):
    with pytest.raises(GoldError, match="no manifest below"):
        data.read_manifests(tmp_path)


def test_the_digest_of_the_manifests_follows_their_content(own, manifests):
    assert data.read_manifests(own / "_manifest").digest == manifests.digest
    path = own / "_manifest" / f"{WEEKS[0]}.json"
    path.write_text(path.read_text() + " ")
    assert data.read_manifests(own / "_manifest").digest != manifests.digest


@pytest.mark.parametrize(
    ("change", "text"), [({"label": "Highest"}, "holds labels Highest"), ({"STORE_FORMAT": "XXL"}, "store formats")]
)
def test_values_that_gold_cannot_have_are_refused(tmp_path, change, text):
    rows = rows_of_week(WEEKS[0], baskets=40)
    write_week(tmp_path / "gold", WEEKS[0], [row | change for row in rows])
    with pytest.raises(GoldError, match=text):
        read(tmp_path / "gold")


def test_unlabelled_baskets_are_kept_and_counted(tmp_path):
    rows = rows_of_week(WEEKS[0], baskets=40)
    write_week(tmp_path / "gold", WEEKS[0], [row | {"label": None} for row in rows])
    train = read(tmp_path / "gold")
    assert train.counts() == {"Low": 0, "Medium": 0, "High": 0, "Unclassified": len(train)}
    assert set(train.label) == {UNCLASSIFIED_CODE}
    assert not train.labelled.any()


def test_a_customer_is_in_one_fold(splits):
    train = splits["train"]
    folds = train.folds(5)
    by_customer = {customer: set(folds[train.customer == customer]) for customer in set(train.customer) - {None}}
    assert {len(folds_of_customer) for folds_of_customer in by_customer.values()} == {1}
    assert set(folds) == set(range(5))


def test_honest_splits_share_nothing(splits):
    leaks = data.leaks_between(splits.values())
    assert (leaks.customers, leaks.content_hashes) == (0, 0)
    data.refuse_leaks(leaks)


def test_a_customer_in_two_splits_is_refused(splits):
    train, test = splits["train"], splits["test"]
    stranger = next(customer for customer in train.customer if customer)
    leaking = replace(test, customer=np.where(np.arange(len(test)) == 0, stranger, test.customer))
    leaks = data.leaks_between([train, leaking])
    assert leaks.customers == 1
    with pytest.raises(GoldError, match="1 customers and 0 baskets"):
        data.refuse_leaks(leaks)


def test_a_large_basket_in_two_splits_is_refused_and_a_small_one_is_chance(splits):
    train, test = splits["train"], splits["test"]
    for large, shared in ((True, 1), (False, 0)):
        copied = np.flatnonzero(train.is_large == large)[0]
        taker = np.flatnonzero(test.is_large == large)[0]
        hashes = test.content_hash.copy()
        hashes[taker] = train.content_hash[copied]
        assert data.leaks_between([train, replace(test, content_hash=hashes)]).content_hashes == shared


def test_copies_inside_a_split_are_counted(splits):
    train = splits["train"]
    large = np.flatnonzero(train.is_large)[:3]
    hashes = train.content_hash.copy()
    hashes[large] = hashes[large[0]]
    leaks = data.leaks_between([replace(train, content_hash=hashes), splits["test"]])
    assert (leaks.duplicates, leaks.content_hashes) == (2, 0)


def test_groups_of_products_come_from_every_week(gold, manifests):
    groups = data.read_groups(gold / "_products", manifests, "PROD_CODE_40")
    assert groups["P012"] == "P0"
    assert len(groups) == 90


def test_weeks_order_does_not_matter(tmp_path, splits):
    again = write_gold(tmp_path, weeks=tuple(reversed(WEEKS)))
    assert list(read(again).content_hash) == list(splits["train"].content_hash)
