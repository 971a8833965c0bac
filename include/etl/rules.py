"""The rules that rows of a weekly file must satisfy.

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
    """A rule of one column. Its name `column text` is stored in quality reports and with rejected rows.

    column: the column whose value an error message shows. holds: an expression of that column alone, where null
    counts as broken; None for rules about a whole basket.
    """

    column: str
    text: str
    holds: pl.Expr | None = None

    @property
    def name(self) -> str:
        return f"{self.column} {self.text}"


def row_rules(week: str) -> tuple[Rule, ...]:
    """Return the rules that each row satisfies or breaks by itself. The first broken one counts."""
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


DUPLICATE_PRODUCT: Final = Rule("PROD_CODE", "is more than once in its basket")
INCONSISTENT: Final = tuple(Rule(name, "differs inside its basket") for name in BASKET)
BASKET_REJECTED: Final = Rule("BASKET_ID", "has another row that breaks a rule")
"""The row itself breaks no rule; another row of its basket does."""


def pence() -> pl.Expr:
    """Return SPEND as whole pence `SPEND_PENCE`, for rows that satisfy the rule for SPEND."""
    return _PENCE.round().cast(pl.Int64).alias("SPEND_PENCE")


def broken_rows(rows: pl.DataFrame, rules: tuple[Rule, ...]) -> pl.DataFrame:
    """Return the rows that break one of the rules: `row`, `BASKET_ID`, `rule` (position in rules of the first broken).

    rows: `row` and the raw columns; text may be categorical.
    """
    if all(_all_hold(rows, rule) for rule in rules):
        return rows.clear().select("row", "BASKET_ID", rule=pl.lit(None, pl.Int32))
    holds = [rule.holds.fill_null(False) for rule in rules if rule.holds is not None]
    first = pl.coalesce(pl.when(~hold).then(pl.lit(number, pl.Int32)) for number, hold in enumerate(holds))
    texts = rows.with_columns(cs.categorical().cast(pl.String))
    return texts.select("row", "BASKET_ID", rule=first).filter(pl.col("rule").is_not_null())


def _all_hold(rows: pl.DataFrame, rule: Rule) -> bool:
    """Return whether no row breaks a rule. Each distinct value of a categorical column is checked once."""
    if rule.holds is None:
        return True
    column = rows[rule.column]
    if rule.text == _BLANK:
        return not column.null_count()  # cheaper than decoding the values
    if isinstance(column.dtype, pl.Categorical):
        column = column.to_physical().unique().cat.to(column.dtype).cast(pl.String)
    return bool(column.to_frame().select(rule.holds.all(ignore_nulls=False)).item())


def inconsistent_rows(rows: pl.DataFrame) -> list[tuple[Rule, pl.DataFrame]]:
    """Return, by rule, the rows (`row`, `BASKET_ID`) that contradict the previous row of their basket.

    rows: whole baskets, in order of BASKET_ID, then PROD_CODE.
    """
    same_basket = pl.col("BASKET_ID") == pl.col("BASKET_ID").shift(1)
    checks = [(DUPLICATE_PRODUCT, same_basket & (pl.col("PROD_CODE") == pl.col("PROD_CODE").shift(1)))]
    checks += [
        (rule, same_basket & pl.col(rule.column).ne_missing(pl.col(rule.column).shift(1))) for rule in INCONSISTENT
    ]
    any_broken = rows.select(check.any().alias(str(number)) for number, (_, check) in enumerate(checks)).row(0)
    return [
        (rule, rows.select("row", "BASKET_ID", check.alias("broken")).filter("broken").drop("broken"))
        for (rule, check), is_broken in zip(checks, any_broken, strict=True)
        if is_broken
    ]
