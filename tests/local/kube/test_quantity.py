import pytest

from local.kube import quantity


@pytest.mark.parametrize(
    ("text", "number"), [("2", 2), ("250m", 0.25), ("1.5", 1.5), ("192Mi", 192 * 2**20), ("4G", 4e9), (".5Gi", 2**29)]
)
def test_quantities_are_cores_and_bytes(text, number):
    assert quantity.parse(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "1X", "-1", "Mi", "1 Gi"])
def test_a_malformed_quantity_is_named(text):
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("amount", "divisor", "units"),
    [("250m", "0", 1), ("250m", "1m", 250), ("192Mi", "1Mi", 192), ("192Mi", "0", 192 * 2**20), ("1500m", "1", 2)],
)
def test_resource_fields_are_rounded_up_in_units_of_the_divisor(amount, divisor, units):
    assert quantity.in_units(amount, divisor) == units
