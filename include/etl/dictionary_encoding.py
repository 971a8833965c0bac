"""Numbers for coded text that depend on the text alone, not on when a value was first met."""

import numpy as np
import polars as pl


def in_order(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The distinct values of a categorical column in their order, and of each row the place of its value (Int32)."""
    codes = column.to_physical()
    present = codes.drop_nulls().to_numpy()
    used = np.zeros(present.max(initial=0) + 1, bool)
    used[present] = True
    values = pl.Series(np.flatnonzero(used), dtype=codes.dtype).cat.to(column.dtype).cast(pl.String)
    order = values.arg_sort().to_numpy()
    place = np.zeros(len(used), np.int32)
    place[np.flatnonzero(used)[order]] = np.arange(len(order))
    return values.gather(order), pl.Series(place).gather(codes)
