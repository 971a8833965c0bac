"""The customers: segment, the classes of products that they prefer, how often and where they shop."""

from dataclasses import dataclass
from typing import Final

import numpy as np

SEGMENTS: Final = ("LA", "MM", "UM", "XX")
LIFESTAGES: Final = ("YA", "OT", "OA", "YF", "OF", "PE")
STORE_FORMATS: Final = ("LS", "MS", "SS", "XLS")

_SEGMENT_SHARES: Final = np.array([0.273, 0.444, 0.279, 0.004])
_TASTE: Final = np.array(
    [[0.335, 0.506, 0.115], [0.198, 0.553, 0.204], [0.114, 0.527, 0.311], [0.170, 0.575, 0.188], [0.233, 0.556, 0.178]]
)
"""Shares of LA, MM, UM among the lines of each segment's customers; the last row: anonymous baskets."""
_ANONYMOUS: Final = len(SEGMENTS)
_TASTE_SPREAD: Final = 0.45
_LIFESTAGE_SHARES: Final = np.array([0.168, 0.336, 0.152, 0.196, 0.056, 0.092])
_WITHOUT_LIFESTAGE: Final = 0.12
_STORES_BY_FORMAT: Final = np.array([330, 236, 167, 28])
_BASKETS_BY_FORMAT: Final = np.array([0.580, 0.251, 0.098, 0.071])
_ACTIVITY_SHAPE: Final = 1.05


@dataclass(frozen=True)
class Customers:
    """n customers and the stores. segment, lifestage [n] (lifestage -1: unknown); taste [n, 3]; activity [n] sums to
    one; home [n]: store; store_format, store_region [stores]; store_weight [stores] sums to one."""

    segment: np.ndarray
    lifestage: np.ndarray
    taste: np.ndarray
    activity: np.ndarray
    home: np.ndarray
    store_format: np.ndarray
    store_region: np.ndarray
    store_weight: np.ndarray


def make(count: int, generator: np.random.Generator) -> Customers:
    """Draw `count` customers, and the stores."""
    segment = generator.choice(len(SEGMENTS), count, p=_SEGMENT_SHARES)
    lifestage = generator.choice(len(LIFESTAGES), count, p=_LIFESTAGE_SHARES)
    lifestage[generator.random(count) < _WITHOUT_LIFESTAGE] = -1
    activity = generator.gamma(_ACTIVITY_SHAPE, size=count) + 0.02
    store_format = np.repeat(np.arange(len(STORE_FORMATS)), _STORES_BY_FORMAT)
    weight = (_BASKETS_BY_FORMAT / _STORES_BY_FORMAT)[store_format] * generator.gamma(3.0, size=len(store_format))
    weight /= weight.sum()
    return Customers(
        segment=segment,
        lifestage=lifestage,
        taste=tastes(segment, generator),
        activity=activity / activity.sum(),
        home=generator.choice(len(weight), count, p=weight),
        store_format=store_format,
        store_region=generator.integers(12, size=len(weight)),
        store_weight=weight,
    )


def tastes(segment: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the shares [n, 3] of LA, MM, UM in the baskets of customers of these segments (_ANONYMOUS: none)."""
    mix = _TASTE[segment] * np.exp(generator.normal(0.0, _TASTE_SPREAD, (len(segment), 3)))
    shares: np.ndarray = mix / mix.sum(axis=1, keepdims=True)
    return shares


def anonymous_tastes(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `tastes` of baskets without a customer."""
    return tastes(np.full(count, _ANONYMOUS), generator)
