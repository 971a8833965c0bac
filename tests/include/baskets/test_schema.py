"""What a basket may hold, and what is refused."""

import msgspec
import pytest

from include.baskets.schema import MAX_LINES, Basket, Line, merge_lines

GOOD_LINE = {"PROD_CODE": "PRD0900033", "QUANTITY": 1, "SPEND": 0.93}
GOOD = {"SHOP_WEEKDAY": 5, "SHOP_HOUR": 19, "STORE_FORMAT": "LS", "STORE_REGION": "E02", "lines": [GOOD_LINE]}


def decode(document: dict) -> Basket:
    return msgspec.json.decode(msgspec.json.encode(document), type=Basket)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"SHOP_WEEKDAY": 1},
        {"SHOP_WEEKDAY": 7},
        {"SHOP_HOUR": 0},
        {"SHOP_HOUR": 23},
        {"STORE_FORMAT": "XLS"},
        {"STORE_REGION": "Z99"},
        {"lines": [GOOD_LINE] * MAX_LINES},
        {"lines": [GOOD_LINE | {"SPEND": 0}]},
        {"lines": [GOOD_LINE | {"SPEND": 1_000_000, "QUANTITY": 1_000_000, "PROD_CODE": "x" * 32}]},
    ],
)
def test_basket_within_the_limits_is_read(change):
    assert len(decode(GOOD | change).lines) >= 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"SHOP_WEEKDAY": 0}, "$.SHOP_WEEKDAY"),
        ({"SHOP_WEEKDAY": 8}, "$.SHOP_WEEKDAY"),
        ({"SHOP_WEEKDAY": "5"}, "$.SHOP_WEEKDAY"),
        ({"SHOP_HOUR": -1}, "$.SHOP_HOUR"),
        ({"SHOP_HOUR": 24}, "$.SHOP_HOUR"),
        ({"SHOP_HOUR": 7.5}, "$.SHOP_HOUR"),
        ({"STORE_FORMAT": "ls"}, "$.STORE_FORMAT"),
        ({"STORE_REGION": "e02"}, "$.STORE_REGION"),
        ({"STORE_REGION": "E2"}, "$.STORE_REGION"),
        ({"STORE_REGION": "E022"}, "$.STORE_REGION"),
        ({"STORE_REGION": "E02\n"}, "$.STORE_REGION"),
        ({"lines": []}, "$.lines"),
        ({"lines": [GOOD_LINE] * (MAX_LINES + 1)}, "$.lines"),
        ({"lines": [GOOD_LINE | {"PROD_CODE": ""}]}, "$.lines[0].PROD_CODE"),
        ({"lines": [GOOD_LINE | {"PROD_CODE": "x" * 33}]}, "$.lines[0].PROD_CODE"),
        ({"lines": [GOOD_LINE, GOOD_LINE | {"QUANTITY": 0}]}, "$.lines[1].QUANTITY"),
        ({"lines": [GOOD_LINE | {"QUANTITY": 1_000_001}]}, "$.lines[0].QUANTITY"),
        ({"lines": [GOOD_LINE | {"QUANTITY": 1.5}]}, "$.lines[0].QUANTITY"),
        ({"lines": [GOOD_LINE | {"QUANTITY": True}]}, "$.lines[0].QUANTITY"),
        ({"lines": [GOOD_LINE | {"SPEND": -0.01}]}, "$.lines[0].SPEND"),
        ({"lines": [GOOD_LINE | {"SPEND": 1_000_000.5}]}, "$.lines[0].SPEND"),
        ({"lines": [GOOD_LINE | {"SPEND": None}]}, "$.lines[0].SPEND"),
        ({"CUST_CODE": "CUST1"}, "CUST_CODE"),
        ({"lines": [GOOD_LINE | {"PRICE": 1}]}, "PRICE"),
    ],
)
def test_basket_outside_the_limits_is_refused_by_path(change, path):
    with pytest.raises(msgspec.ValidationError) as refused:
        decode(GOOD | change)
    assert path in str(refused.value)


def test_spend_that_is_no_number_is_refused():
    text = msgspec.json.encode(GOOD).replace(b"0.93", b"NaN")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text, type=Basket)


def test_lines_of_one_product_are_added_up():
    lines = [Line("A", 1, 0.5), Line("B", 2, 3.0), Line("A", 3, 1.25)]
    assert merge_lines(lines) == [Line("A", 4, 1.75), Line("B", 2, 3.0)]


def test_lines_of_different_products_stay_as_they_are():
    lines = [Line("A", 1, 0.5), Line("B", 2, 3.0)]
    assert merge_lines(lines) is lines
