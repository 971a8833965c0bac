"""Refusals carry the path of the field that is wrong."""

from typing import Any

import msgspec
import pytest

from api.errors import invalid_body
from include.baskets.schema import Basket


def refusal(content: bytes) -> dict[str, Any]:
    with pytest.raises((msgspec.MsgspecError, UnicodeDecodeError, RecursionError)) as caught:
        msgspec.json.decode(content, type=Basket)
    detail: dict[str, Any] = invalid_body(caught.value).detail[0]
    return detail


def test_nested_field_is_named() -> None:
    detail = refusal(
        b'{"SHOP_WEEKDAY":1,"SHOP_HOUR":1,"STORE_FORMAT":"LS","STORE_REGION":"E01",'
        b'"lines":[{"PROD_CODE":"P","QUANTITY":1,"SPEND":1},{"PROD_CODE":"P","QUANTITY":0,"SPEND":1}]}'
    )

    assert detail["loc"] == ["body", "lines", 1, "QUANTITY"]
    assert ">= 1" in detail["msg"]


def test_unknown_field_is_named() -> None:
    assert "CUST_CODE" in refusal(b'{"CUST_CODE":"x"}')["msg"]


def test_prefix_precedes_the_path() -> None:
    error = invalid_body(msgspec.ValidationError("Expected `int` - at `$.lines[0].QUANTITY`"), "baskets", 17)

    assert error.detail[0]["loc"] == ["body", "baskets", 17, "lines", 0, "QUANTITY"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"SHOP_WEEKDAY":NaN}', b"\xef\xbb\xbf{}"])
def test_invalid_json_has_its_own_type(content: bytes) -> None:
    assert refusal(content)["type"] == "json_invalid"
