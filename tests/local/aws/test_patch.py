"""A patch replaces a name or a member of a table, and gives the original to a wrapper."""

from types import ModuleType

import pytest

from local.aws.patch import replace, wrap


@pytest.fixture
def module() -> ModuleType:
    patched = ModuleType("upstream")
    vars(patched).update(double=lambda number: 2 * number, TABLE={"known": lambda: "original"})
    return patched


def test_a_wrapper_gets_the_original_and_the_arguments(module: ModuleType) -> None:
    wrap(module, "double", lambda original, number: original(number) + 1, "it is even").apply()
    assert module.double(3) == 7


def test_a_member_of_a_table_is_replaced_in_place(module: ModuleType) -> None:
    table = module.TABLE
    wrap(module, "TABLE", lambda original: original() + ", wrapped", "why", ("known",)).apply()
    replace(module, "TABLE", "new", "why", ("types", "kind")).apply()
    assert table["known"]() == "original, wrapped"
    assert table["types"] == {"kind": "new"}


def test_a_name_that_upstream_does_not_have_is_refused(module: ModuleType) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        replace(module, "no_such_name", 1, "why").apply()


def test_the_target_is_the_full_name(module: ModuleType) -> None:
    assert replace(module, "TABLE", 1, "why", ("types", "kind")).target == "upstream.TABLE[types][kind]"
