"""What a row of a weekly file must fulfil, and what becomes of rows that do not.

A row that breaks a rule takes its whole basket with it: the label is a property of the whole basket, so a basket that
lost a line would teach something wrong. Only rows that break a rule themselves count against the tolerance.
"""

from dataclasses import dataclass
from typing import Final

import polars as pl
import polars.selectors as cs

from include.baskets.schema import LABEL_OF, MAX_QUANTITY, MAX_SPEND, STORE_FORMATS
from include.etl.columns import BASKET, PRODUCTS

SENSITIVITIES: Final = (*LABEL_OF, "XX")
_PENCE: Final = pl.col("SPEND") * 100
_BLANK: Final = "must not be blank"


@dataclass(frozen=True, eq=False)
class Rule:
    """column: what is shown of a row that breaks the rule; holds: of that column alone, null counts as broken."""

    column: str
    text: str
    holds: pl.Expr | None = None


def of_rows(week: str) -> tuple[Rule, ...]:
    """The rules that a row fulfils or breaks by itself; the first broken one counts."""
    day = pl.col("SHOP_DATE") % 100
    month = pl.col("SHOP_DATE") // 100 % 100
    return (
        Rule("SHOP_WEEK", f"is another week than {week}", pl.col("SHOP_WEEK") == int(week)),
        Rule("BASKET_ID", "must be a whole number from 1", pl.col("BASKET_ID") >= 1),
        Rule(
            "SHOP_DATE",
            "must be a date YYYYMMDD",
            pl.col("SHOP_DATE").is_between(19_000_101, 29_991_231) & day.is_between(1, 31) & month.is_between(1, 12),
        ),
        Rule("SHOP_WEEKDAY", "must be 1 to 7", pl.col("SHOP_WEEKDAY").is_between(1, 7)),
        Rule("SHOP_HOUR", "must be 0 to 23", pl.col("SHOP_HOUR").is_between(0, 23)),
        Rule("QUANTITY", "must be a whole number from 1", pl.col("QUANTITY").is_between(1, MAX_QUANTITY)),
        Rule(
            "SPEND",
            "must be 0 or more, in whole pence",
            pl.col("SPEND").is_between(0, MAX_SPEND) & ((_PENCE - _PENCE.round()).abs() < 1e-6),
        ),
        Rule(
            "BASKET_PRICE_SENSITIVITY",
            f"must be one of {', '.join(SENSITIVITIES)}",
            pl.col("BASKET_PRICE_SENSITIVITY").is_in(SENSITIVITIES),
        ),
        Rule(
            "STORE_FORMAT",
            f"must be one of {', '.join(STORE_FORMATS)}",
            pl.col("STORE_FORMAT").is_in(STORE_FORMATS),
        ),
        Rule("STORE_REGION", "must be a letter and two digits", pl.col("STORE_REGION").str.contains(r"^[A-Z]\d\d$")),
        Rule("PROD_CODE", "must be 1 to 32 characters", pl.col("PROD_CODE").str.len_chars() <= 32),
        *(Rule(name, _BLANK, pl.col(name).is_not_null()) for name in PRODUCTS.names[1:]),
        *(Rule(name, _BLANK, pl.col(name).is_not_null()) for name in ("STORE_CODE", "BASKET_SIZE")),
    )


DUPLICATE: Final = Rule("PROD_CODE", "is more than once in its basket")
VARYING: Final = tuple(Rule(name, "differs inside its basket") for name in BASKET)
TAKEN_ALONG: Final = Rule("BASKET_ID", "has another row that breaks a rule")


def pence() -> pl.Expr:
    """SPEND as whole pence, once the rule for it holds."""
    return _PENCE.round().cast(pl.Int64).alias("SPEND_PENCE")


def broken(rows: pl.DataFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """Rows that break one of the rules: `row`, `BASKET_ID`, `rule` (position of the first broken one).

    Text may be categorical.
    """
    if all(_all_hold(rows, rule) for rule in rules):
        return rows.clear().select("row", "BASKET_ID", rule=pl.lit(None, pl.Int32))
    holds = [rule.holds.fill_null(False) for rule in rules if rule.holds is not None]
    first = pl.coalesce(pl.when(~hold).then(pl.lit(place, pl.Int32)) for place, hold in enumerate(holds))
    texts = rows.with_columns(cs.categorical().cast(pl.String))
    return texts.select("row", "BASKET_ID", rule=first).filter(pl.col("rule").is_not_null())


def _all_hold(rows: pl.DataFrame, rule: Rule) -> bool:
    """Whether no row breaks a rule; of a categorical column each value is looked at once."""
    if rule.holds is None:
        return True
    column = rows[rule.column]
    if rule.text == _BLANK:
        return not column.null_count()  # without a look at the values
    if isinstance(column.dtype, pl.Categorical):
        column = column.to_physical().unique().cat.to(column.dtype).cast(pl.String)
    return bool(column.to_frame().select(rule.holds.all(ignore_nulls=False)).item())


def broken_in_baskets(rows: pl.DataFrame) -> list[tuple[Rule, pl.DataFrame]]:
    """Rows that contradict another row of their basket, by rule: `row`, `BASKET_ID`.

    rows: whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    same = pl.col("BASKET_ID") == pl.col("BASKET_ID").shift(1)
    checks = [(DUPLICATE, same & (pl.col("PROD_CODE") == pl.col("PROD_CODE").shift(1)))]
    checks += [(rule, same & pl.col(rule.column).ne_missing(pl.col(rule.column).shift(1))) for rule in VARYING]
    found = rows.select(check.any().alias(str(place)) for place, (_, check) in enumerate(checks)).row(0)
    return [
        (rule, rows.select("row", "BASKET_ID", check.alias("broken")).filter("broken").drop("broken"))
        for (rule, check), any_broken in zip(checks, found, strict=True)
        if any_broken
    ]
