"""The table printer: Markdown with aligned columns, one line per row."""

from retail_mlops.common.tables import markdown_table


def test_columns_are_aligned_and_numbers_stand_on_the_right():
    assert markdown_table(("name", "count"), [("a", 1234), ("long name", 0.5)], align="lr").splitlines() == [
        "| name      |   count |",
        "|:----------|--------:|",
        "| a         |   1,234 |",
        "| long name |  0.5000 |",
    ]


def test_cell_of_several_lines_stays_one_row():
    assert len(markdown_table(("name",), [("a\nb",)]).splitlines()) == 3


def test_text_that_looks_like_a_number_stays_as_it_is():
    assert "| 0012 " in markdown_table(("version",), [("0012",)])


def test_table_without_rows_has_its_header():
    assert markdown_table(("a", "b"), []).splitlines()[0] == "| a   | b   |"
