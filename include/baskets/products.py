"""The product table: what training learned about each product, in a file format without pickle.

A product has beliefs about its hidden class: P(Low), P(Medium), P(High), and the remaining probability that it does
not count at all. A basket's label is the mean class of its counting lines, cut at two values `cuts` = (low, high).
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from include.baskets.errors import BundleContentError

LINE_COLUMNS: Final = ("low", "medium", "high", "score", "low_mean", "low_variance", "high_mean", "high_variance")
"""The columns of `ProductTable.line_numbers`."""

_ARRAYS: Final = ("codes", "beliefs", "baskets", "unseen", "cuts")


@dataclass(frozen=True)
class ProductTable:
    """What training learned about p products.

    codes [p]: product codes, sorted. beliefs [p, 3] in the order of LABELS; rows sum to at most 1. baskets [p]:
    labelled training baskets with this product (0: seen in Unclassified ones only). unseen [3]: beliefs about a product
    that is not in the table. cuts (low, high): on the mean class. ValueError for other shapes, and for numbers that are
    not finite.
    """

    codes: Sequence[str]
    beliefs: np.ndarray
    baskets: np.ndarray
    unseen: np.ndarray
    cuts: tuple[float, float]

    def __post_init__(self) -> None:
        count = len(self.codes)
        if self.beliefs.shape != (count, 3) or self.baskets.shape != (count,) or self.unseen.shape != (3,):
            raise ValueError(
                f"a table of {count} products needs beliefs [{count}, 3], baskets [{count}] and unseen [3], "
                f"not {list(self.beliefs.shape)}, {list(self.baskets.shape)}, {list(self.unseen.shape)}"
            )
        if not (np.isfinite(self.beliefs).all() and np.isfinite(self.unseen).all() and np.isfinite(self.cuts).all()):
            raise ValueError("beliefs, unseen and cuts must be finite numbers")

    @cached_property
    def line_numbers(self) -> np.ndarray:
        """[p + 1, 8] what one line of each product adds to its basket. The last row is for a product not in the table.

        Columns LINE_COLUMNS: the beliefs; score = P(High) - P(Low); then for each cut c the mean and variance of
        (class - c), where class is -1, 0 or +1 for Low, Medium or High and a product that does not count adds 0. The
        basket's label is above the cut when these sum to more than 0.
        """
        low, medium, high = np.vstack([self.beliefs, self.unseen]).T
        columns = [low, medium, high, high - low]
        for cut in self.cuts:
            mean = high - low - cut * (high + medium + low)
            square = high * (1 - cut) ** 2 + medium * cut**2 + low * (1 + cut) ** 2
            columns += [mean, np.maximum(square - mean**2, 0.0)]
        return np.stack(columns, axis=1)

    @cached_property
    def rows(self) -> dict[str, tuple[float, ...]]:
        """Product code -> its row of `line_numbers` as Python floats, then 1.0 if it is known, else 0.0."""
        known = self.known.tolist()
        return {
            code: (*numbers, float(known[row]))
            for row, (code, numbers) in enumerate(zip(self.codes, self.line_numbers.tolist(), strict=False))
        }

    @cached_property
    def unseen_row(self) -> tuple[float, ...]:
        """The same for a product that is not in the table."""
        return (*self.line_numbers[-1].tolist(), 0.0)

    @cached_property
    def known(self) -> np.ndarray:
        """[p + 1] bool: whether training saw the product in a Low, Medium or High basket."""
        return np.append(self.baskets > 0, False)

    def belief(self, code: str) -> tuple[int, tuple[float, float, float]]:
        """Return the number of labelled training baskets with the product, and its P(Low), P(Medium), P(High)."""
        row = self._position.get(code)
        values = self.unseen if row is None else self.beliefs[row]
        low, medium, high = values.tolist()
        return 0 if row is None else int(self.baskets[row]), (low, medium, high)

    def most_frequent(self, count: int) -> list[str]:
        """Return the codes of the known products in most labelled training baskets; ties go by code."""
        return [self.codes[row] for row in np.argsort(-self.baskets, kind="stable")[:count] if self.known[row]]

    @cached_property
    def _position(self) -> dict[str, int]:
        return {code: row for row, code in enumerate(self.codes)}

    def positions(self, codes: Sequence[str]) -> np.ndarray:
        """Return the row of each code in `line_numbers`; the last row for a product that is not in the table."""
        unseen = len(self.codes)
        position = self._position
        return np.fromiter((position.get(code, unseen) for code in codes), np.int64, len(codes))

    def to_bytes(self) -> bytes:
        """Return the npz file. Equal tables give equal bytes, whatever the versions of Python and zlib.

        numpy's own writer uses zip64, whose headers changed in Python 3.11.4, and builds of zlib compress differently.
        The bundle's archive is compressed anyway.
        """
        arrays = {
            "codes": np.array(self.codes, dtype=np.str_),
            "beliefs": self.beliefs.astype(np.float64),
            "baskets": self.baskets.astype(np.int64),
            "unseen": self.unseen.astype(np.float64),
            "cuts": np.array(self.cuts, dtype=np.float64),
        }
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                member = io.BytesIO()
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())  # dated 1980, not now
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ProductTable":
        """Read a file of `to_bytes`, without unpickling. BundleContentError when it is something else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                codes, beliefs, baskets, unseen, cuts = (arrays[name] for name in _ARRAYS)
            low, high = cuts.tolist()
            return cls(codes.tolist(), beliefs, baskets, unseen, (low, high))
        except Exception as error:  # numpy and zipfile raise many types for a damaged file
            raise BundleContentError(f"products.npz is not a product table ({error}): train the model again") from error
