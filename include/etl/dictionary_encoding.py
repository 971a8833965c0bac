"""Dictionary encoding of text that depends on the text alone, not on the order in which values were first read."""

import numpy as np
import polars as pl


def encode_sorted(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Encode a categorical column by a sorted dictionary.

    column: [n] Categorical, with or without nulls.
    Returns the dictionary ([v] String, sorted, only values that occur) and the indices ([n] Int32 positions in it).
    """
    codes = column.to_physical()
    present = codes.drop_nulls().to_numpy()
    used = np.zeros(present.max(initial=0) + 1, bool)
    used[present] = True
    values = pl.Series(np.flatnonzero(used), dtype=codes.dtype).cat.to(column.dtype).cast(pl.String)
    order = values.arg_sort().to_numpy()
    index_of_code = np.zeros(len(used), np.int32)
    index_of_code[np.flatnonzero(used)[order]] = np.arange(len(order))
    return values.gather(order), pl.Series(index_of_code).gather(codes)
