"""Which licences pass, how they are read from metadata, and that an exception does not outlive its reason."""

from email.message import Message
from pathlib import Path

import pytest

from tools import licences
from tools.licences import Installed, complaints, installed, is_permissive, licence_of


@pytest.mark.parametrize(
    "expression",
    ["MIT", "Apache-2.0 OR BSD-2-Clause", "MIT AND PSF-2.0", "GPL-2.0-only OR MIT", "(GPL-3.0-only OR MIT) AND ISC"],
)
def test_what_permissive_licences_alone_satisfy_passes(expression):
    assert is_permissive(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-3.0-or-later",
        "MPL-2.0",
        "MIT AND GPL-2.0-only",
        "MPL-2.0 AND (Apache-2.0 OR MIT)",
        "no licence named",
        "",
        "Proprietary",
    ],
)
def test_what_needs_another_licence_does_not(expression):
    assert not is_permissive(expression)


class Distribution:
    """Metadata alone."""

    def __init__(self, **fields: str | list[str]) -> None:
        self.metadata = Message()
        for name, value in fields.items():
            for one in [value] if isinstance(value, str) else value:
                self.metadata[name.replace("_", "-")] = one


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT", "License": "GPL"}, "MIT"),
        ({"Classifier": ["License :: OSI Approved :: MIT License"]}, "MIT"),
        ({"Classifier": ["License :: OSI Approved", "License :: OSI Approved :: BSD License"]}, "BSD"),
        (
            {"Classifier": ["License :: OSI Approved :: MIT License", "License :: OSI Approved :: GNU GPL"]},
            "GNU GPL AND MIT",
        ),
        ({"License": "Apache License 2.0\nand its whole text"}, "Apache-2.0"),
        ({"License": "a licence of our own"}, "a licence of our own"),
        ({}, "no licence named"),
    ],
)
def test_metadata_name_the_licence(fields, licence):
    assert licence_of(Distribution(**fields)) == licence


def test_a_licence_that_is_not_permissive_is_a_complaint():
    assert complaints([Installed("a", "1", "MIT"), Installed("b", "2", "GPL-3.0-only")], {}) == ["b 2 is GPL-3.0-only"]


def test_an_exception_lets_it_pass_and_is_a_complaint_itself_when_nothing_needs_it():
    found = [Installed("b", "2", "GPL-3.0-only")]
    assert complaints(found, {"b": "a program, not linked"}) == []
    assert complaints(found, {"b": "a program, not linked", "c": "gone"}) == ["c needs no exception any more"]


def test_an_environment_that_is_not_there_is_no_clean_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="make install"):
        list(installed(tmp_path))
    assert licences.main(["no-such-environment"]) == 1
    assert licences.main([]) == 1


def test_this_environment_is_read():
    environment = Path(licences.ROOT / ".venv/dev")
    assert {"pytest", "numpy"} <= {one.name for one in installed(environment)}


def test_every_exception_has_its_reason():
    assert licences.EXCEPTIONS
    assert all(len(reason) > 20 for reason in licences.EXCEPTIONS.values())
