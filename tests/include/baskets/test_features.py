"""One basket in plain Python and many in numpy are the same features."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.baskets import features
from include.baskets.schema import MAX_QUANTITY, MAX_SPEND, STORE_FORMATS, STORE_REGIONS, Basket, Line, merge_lines

CODES = st.sampled_from(["HIGH", "MIDDLE", "LOW", "IDLE", "NEVER", "SEEN", "ÄNDERN"]) | st.text(min_size=1, max_size=32)
LINES = st.builds(
    Line,
    CODES,
    st.integers(1, 12) | st.integers(1, MAX_QUANTITY),
    st.integers(0, 2000).map(lambda pence: pence / 100) | st.floats(0, MAX_SPEND),
)
BASKETS = st.builds(
    Basket,
    SHOP_WEEKDAY=st.integers(1, 7),
    SHOP_HOUR=st.integers(0, 23),
    STORE_FORMAT=st.sampled_from(STORE_FORMATS),
    STORE_REGION=st.sampled_from([*STORE_REGIONS, "Z99"]),
    lines=st.lists(LINES, min_size=1, max_size=40).map(merge_lines),
)


@settings(max_examples=150, deadline=None)
@given(baskets=st.lists(BASKETS, min_size=1, max_size=6))
def test_plain_python_and_numpy_agree(loaded, baskets):
    values, known = features.compute_many(features.columns_of(baskets), loaded.table)
    for row, basket in enumerate(baskets):
        alone, alone_known = features.compute_one(basket, loaded.table)
        np.testing.assert_array_equal(values[row], alone)
        assert known[row] == alone_known
    for together, alone in zip(loaded.predict_many(baskets), map(loaded.predict_one, baskets), strict=True):
        assert together.prediction == alone.prediction
        assert together.known_lines == alone.known_lines
        assert together.probability == pytest.approx(alone.probability, rel=0, abs=1e-6)


def test_features_are_what_their_names_say(table, make_basket):
    basket = make_basket(lines=[Line("HIGH", 2, 3.0), Line("LOW", 1, 0.5), Line("NEVER", 4, 10.0)])
    values, known = features.compute_one(basket, table)
    named = dict(zip(features.FEATURES, values, strict=True))
    assert known == 2
    assert (named["lines"], named["units"], named["spend"]) == (3, 7, 13.5)
    assert (named["price_min"], named["price_median"], named["price_max"]) == (0.5, 1.5, 2.5)
    assert named["price_std"] == pytest.approx(np.std([1.5, 0.5, 2.5]))
    assert (named["hour"], named["weekday"], named["store_format"], named["store_region"]) == (19, 5, 2, 1)
    assert named["affinity_high"] == pytest.approx((0.9 + 0.02 + 0.15) / 3)
    assert named["affinity_ratio"] == pytest.approx((0.88 - 0.88 + 0.0) / 2.95)
    assert named["known_share"] == pytest.approx(2 / 3)


def test_unknown_region_is_minus_one(table, make_basket):
    values, _ = features.compute_one(make_basket("HIGH", STORE_REGION="Z99"), table)
    assert values[features.FEATURES.index("store_region")] == -1


def test_slice_of_columns_is_the_columns_of_the_slice(table, make_basket):
    baskets = [make_basket("HIGH"), make_basket("LOW", "NEVER"), make_basket("MIDDLE", "HIGH", "LOW")]
    sliced = features.columns_of(baskets).take(np.array([2, 0]))
    expected = features.columns_of([baskets[2], baskets[0]])
    np.testing.assert_array_equal(features.compute_many(sliced, table)[0], features.compute_many(expected, table)[0])
