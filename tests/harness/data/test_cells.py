"""Cells that do no harm in a spreadsheet, and files that are whole."""

import csv
import io

import pytest

from graders.harness.data.cells import csv_file, defused, number
from tests.harness.gradebooks.courses import HOSTILE


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_cell_is_a_formula_for_any_spreadsheet(name: str, delimiter: str) -> None:
    """No cell begins like a formula, not even where a spreadsheet expects another delimiter than there is."""
    content = csv_file([["id", "name"], ["1", defused(name)]]).decode()
    cells = [cell for row in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r＝＋－＠"))]


@pytest.mark.parametrize("text", ["Ada Lovelace", "Müller-Lüdenscheidt", "a = b", "ada@example.org", "", "3.5"])
def test_what_is_no_formula_stays(text: str) -> None:
    """Text that nobody takes for a formula is not touched."""
    assert defused(text) == text


def test_numbers_are_short_and_exact() -> None:
    """Points have no more decimals than they need, and never an exponent."""
    assert [number(points) for points in (3.0, 17.25, 0.1 + 0.2, 0.0, 100.0, 1234567.5)] == [
        "3",
        "17.25",
        "0.3",
        "0",
        "100",
        "1234567.5",
    ]
    assert number(7.5, ",") == "7,5"
