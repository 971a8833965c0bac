"""Changes rows of a weekly file's text."""

from include.etl.columns import RAW

COLUMNS = list(RAW)


def value(line: str, column: str) -> str:
    return line.split(",")[COLUMNS.index(column)]


def changed(line: str, **values: object) -> str:
    """The row with other values in some columns."""
    fields = line.split(",")
    for column, text in values.items():
        fields[COLUMNS.index(column)] = str(text)
    return ",".join(fields)


def of_basket(lines: list[str], basket: str) -> list[int]:
    """Positions of a basket's rows."""
    return [place for place, line in enumerate(lines) if place and value(line, "BASKET_ID") == basket]


def large_basket(lines: list[str], size: int = 5) -> list[int]:
    """Positions of the rows of the first basket with at least so many lines."""
    for line in lines[1:]:
        places = of_basket(lines, value(line, "BASKET_ID"))
        if len(places) >= size:
            return places
    raise AssertionError("no such basket")


def joined(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
