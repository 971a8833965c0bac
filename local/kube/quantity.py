"""Kubernetes quantities (500m, 2Gi) as numbers."""

import math
import re

FACTORS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
FACTORS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse(text: str) -> float:
    """Return the number that a quantity stands for, in cores or bytes; ValueError names a malformed quantity."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([A-Za-z]*)", text)
    if not match or match[2] not in FACTORS:
        raise ValueError(f"{text!r} is not a quantity such as 500m or 2Gi")
    return float(match[1]) * FACTORS[match[2]]


def in_units(amount: str, divisor: str) -> int:
    """Return an amount in units of the divisor, rounded up, as resourceFieldRef does; a divisor of 0 means 1."""
    return math.ceil(round(parse(amount) / (parse(divisor) or 1), 9))
