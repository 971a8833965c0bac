"""`make help` is the map: every target is on it, under a heading, on one screen."""

import os
import re
import subprocess

import pytest

from local.stack.config import ROOT

TEXT = (ROOT / "Makefile").read_text()
PARTS = set(re.findall(r"^PARTS := (.*)", TEXT, re.MULTILINE)[0].split())
"""Parts of test-unit, which it runs side by side."""
TARGETS = sorted(set(" ".join(re.findall(r"^\.PHONY: (.*)", TEXT, re.MULTILINE)).split()) - {"help", "$(PARTS)"})
HELP = subprocess.run(
    ["make", "--no-print-directory"],
    cwd=ROOT,
    env={"PATH": os.environ["PATH"]},  # without the flags of a make that runs these tests
    check=True,
    capture_output=True,
    text=True,
).stdout.splitlines()


def test_help_fits_a_screen():
    assert 0 < len(HELP) <= 50
    assert [line for line in HELP if len(line) > 100] == []


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_in_the_help(target):
    listed = re.compile(rf"  ({target} +\S|([a-z-]+, )*{target}[,:])|.*; ({target}|([a-z-]+, )+{target})[,:]")
    assert [line for line in HELP if listed.match(line)]


def test_help_groups_targets_under_headings():
    headings = [line for line in HELP if not line.startswith(" ")]
    assert HELP[0] == headings[0] == "Local stack"
    assert len(headings) >= 6


def test_there_is_one_word_for_each_kind_of_image():
    """`image` is a code image of the local stack, `docker` an image of the Dockerfile."""
    named = [target for target in TARGETS if "image" in target or "docker" in target]
    assert [target for target in named if not re.fullmatch(r"image(-\w+)?|docker-\w+|test-docker", target)] == []
    assert {"image", "docker-build"} <= set(named)


def test_no_target_is_written_with_a_recipe_that_is_not_phony():
    written = set(re.findall(r"^([a-z][a-z-]*(?: [a-z-]+)*):(?!=)", TEXT, re.MULTILINE))
    assert {word for line in written for word in line.split()} - {"help"} == set(TARGETS) | PARTS
