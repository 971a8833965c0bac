"""An upgrade of ministack is refused until somebody looked at what local.aws replaces in it."""

import pytest

from local.aws import compatibility


def test_the_installed_ministack_is_the_pinned_one() -> None:
    compatibility.check()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "version", lambda package: "1.5.34")
    with pytest.raises(ImportError, match=r"1\.5\.33, not 1\.5\.34"):
        compatibility.check()


def test_a_name_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compatibility.NAMES, "ministack.services.eks", "_clusters _no_such_name")
    with pytest.raises(ImportError, match=r"ministack\.services\.eks of ministack .* has no _no_such_name"):
        compatibility.check()
