"""The products: nested hierarchy, hidden class, price, popularity."""

from dataclasses import dataclass
from typing import Final

import numpy as np

LA, MM, UM, XX = range(4)
"""Hidden classes; XX products say nothing about a basket."""

_DEPARTMENTS: Final = np.array(
    [
        # products, PROD_CODE_30, PROD_CODE_20, PROD_CODE_10 below each PROD_CODE_40
        [350, 3, 7, 24],
        [1600, 6, 26, 79],
        [1850, 7, 22, 68],
        [110, 4, 11, 25],
        [790, 3, 10, 30],
        [8, 2, 2, 3],
        [2, 1, 1, 1],
        [265, 3, 8, 17],
        [22, 2, 3, 3],
    ]
)
DEPARTMENTS: Final = len(_DEPARTMENTS)
NON_FOOD: Final = 4
"""The department whose last PROD_CODE_30 holds XX products only."""
UNCLASSIFIED: Final = (3, 5, 6)
"""Departments of XX products only."""

_CLASS_SHARES: Final = np.array([0.145, 0.72, 0.135])
_GROUP_CONCENTRATION: Final = 14.0
_CLASS_CONCENTRATION: Final = 40.0
"""How alike the class shares of all PROD_CODE_30 are, and of the PROD_CODE_10 in one: groups tell little."""

_LOG_PRICE_SHIFT: Final = np.array([-0.31, 0.05, 0.09, 0.0])
_LOG_PRICE_WITHIN: Final = 0.64
_LOG_PRICE_BETWEEN: Final = 0.5
_ZIPF_EXPONENT: Final = 0.79
_ZIPF_SHIFT: Final = 2.5


@dataclass(frozen=True)
class Catalogue:
    """n products. levels [4, n]: number of PROD_CODE_10, 20, 30, 40 from 0; tag [n]: class; pence [n]: unit price;
    cell_start, cell_end [4, DEPARTMENTS]: a class's products of a department in `order` by cumulated `weight`."""

    levels: np.ndarray
    tag: np.ndarray
    pence: np.ndarray
    order: np.ndarray
    cumulated: np.ndarray
    cell_start: np.ndarray
    cell_end: np.ndarray

    def draw(self, tag: np.ndarray, department: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Draw a product for each pair of class and department, by popularity."""
        start = self.cell_start[tag, department]
        end = self.cell_end[tag, department]
        place = np.searchsorted(self.cumulated, start + (end - start) * generator.random(len(tag)), side="right")
        products: np.ndarray = self.order[np.minimum(place, len(self.order) - 1)]
        return products


def make(generator: np.random.Generator) -> Catalogue:
    """Draw the products."""
    levels = _hierarchy(generator)
    tag = _tags(levels, generator)
    count = len(tag)
    of_class = generator.normal(0.0, _LOG_PRICE_BETWEEN, levels[0].max() + 1)
    log_price = of_class[levels[0]] + _LOG_PRICE_SHIFT[tag] + generator.normal(0.05, _LOG_PRICE_WITHIN, count)
    weight = generator.permutation((np.arange(count) + 1 + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT)
    cell = tag * DEPARTMENTS + levels[3]
    order = np.argsort(cell, kind="stable")
    cumulated = np.cumsum(weight[order])
    total = np.bincount(cell, weights=weight, minlength=4 * DEPARTMENTS)
    end = np.cumsum(total)
    shape = (4, DEPARTMENTS)
    return Catalogue(
        levels=levels,
        tag=tag,
        pence=np.maximum(2, np.round(100 * np.exp(log_price))).astype(np.int64),
        order=order,
        cumulated=cumulated,
        cell_start=(end - total).reshape(shape),
        cell_end=end.reshape(shape),
    )


def _hierarchy(generator: np.random.Generator) -> np.ndarray:
    """Return PROD_CODE_10 to PROD_CODE_40 [4, n] of each product, strictly nested."""
    parts = []
    offset = np.zeros(4, dtype=np.int64)
    for number, (products, groups, sections, classes) in enumerate(_DEPARTMENTS):
        section_of_class = _spread(classes, sections, generator)
        group_of_section = _spread(sections, groups, generator)
        of_product = _spread(products, classes, generator)
        section = section_of_class[of_product]
        department = np.full(products, number)
        parts.append(np.stack([of_product + offset[0], section + offset[1], group_of_section[section] + offset[2],
                               department]))  # fmt: skip
        offset += (classes, sections, groups, 0)
    return np.concatenate(parts, axis=1)


def _spread(children: int, parents: int, generator: np.random.Generator) -> np.ndarray:
    """Return the parent of each child; every parent has at least one."""
    return np.sort(np.concatenate([np.arange(parents), generator.integers(parents, size=children - parents)]))


def _tags(levels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the class of each product; products of a group are alike, which tells little."""
    of_group = generator.dirichlet(_CLASS_SHARES * _GROUP_CONCENTRATION, int(levels[2].max()) + 1)
    _, first = np.unique(levels[0], return_index=True)
    shares = np.stack([generator.dirichlet(alpha * _CLASS_CONCENTRATION + 0.1) for alpha in of_group[levels[2][first]]])
    upto = np.cumsum(shares, axis=1)[levels[0]]
    drawn = (generator.random((levels.shape[1], 1)) > upto).sum(axis=1)
    tag: np.ndarray = np.minimum(drawn, UM)
    in_non_food = levels[3] == NON_FOOD
    last_group = int(np.max(levels[2][in_non_food]))
    tag[np.isin(levels[3], UNCLASSIFIED) | (levels[2] == last_group)] = XX
    return tag
