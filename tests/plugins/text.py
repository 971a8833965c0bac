"""Texts of the plugins, in the form in which tests compare them."""

import re


def squeezed(text: str) -> str:
    """The text without the spaces that align the columns of its tables."""
    return re.sub(" +", " ", text)
