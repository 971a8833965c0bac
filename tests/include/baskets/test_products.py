"""The product table: what a line adds, and a file format without pickle."""

import io
from dataclasses import replace

import numpy as np
import pytest

from include.baskets.errors import BundleContentError
from include.baskets.products import LINE_COLUMNS, ProductTable


def test_table_survives_its_file(table):
    again = ProductTable.from_bytes(table.to_bytes())
    assert (list(again.codes), again.cuts) == (list(table.codes), table.cuts)
    np.testing.assert_array_equal(again.line_numbers, table.line_numbers)
    np.testing.assert_array_equal(again.known, table.known)


def test_equal_tables_give_equal_bytes(table):
    assert table.to_bytes() == replace(table).to_bytes()


def test_line_of_a_certain_high_product_is_above_both_cuts_without_doubt(table):
    certain = replace(table, beliefs=np.tile([0.0, 0.0, 1.0], (4, 1)))
    numbers = dict(zip(LINE_COLUMNS, certain.line_numbers[0], strict=True))
    assert (numbers["score"], numbers["low_mean"], numbers["high_mean"]) == pytest.approx((1, 1.18, 0.77))
    assert (numbers["low_variance"], numbers["high_variance"]) == pytest.approx((0, 0))


def test_product_that_is_not_in_the_table_gets_the_last_row(table):
    assert table.positions(["HIGH", "NEVER"]).tolist() == [0, 4]


def test_product_of_unclassified_baskets_only_is_not_known(table):
    assert dict(zip(table.codes, table.known, strict=False)) == {
        "HIGH": True,
        "IDLE": False,
        "LOW": True,
        "MIDDLE": True,
    }
    assert not table.known[-1]


@pytest.mark.parametrize(
    "change",
    [
        {"codes": ["A"]},
        {"beliefs": np.zeros((4, 4))},
        {"unseen": np.zeros(4)},
        {"beliefs": np.full((4, 3), np.nan)},
        {"cuts": (-0.1, float("inf"))},
    ],
)
def test_table_of_the_wrong_shape_is_refused(table, change):
    with pytest.raises(ValueError, match=r"needs|finite"):
        replace(table, **change)


def _npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"PK\x03\x04nonsense", _npz(codes=np.array(["A"])), _npz(codes=np.array([{"pickled": 1}], dtype=object))],
    ids=["empty", "damaged", "members missing", "pickled"],
)
def test_file_that_is_not_a_table_is_refused(data):
    with pytest.raises(BundleContentError, match="train the model again"):
        ProductTable.from_bytes(data)
