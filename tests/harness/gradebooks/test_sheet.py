"""A course system's CSV file, in which single cells are filled."""

import csv
import io
from pathlib import Path

import pytest

from graders.harness.gradebooks.sheet import MAX_BYTES, SheetError, read
from tests.harness.gradebooks.courses import HOSTILE


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("newline", ["\r\n", "\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_all_but_the_filled_cell_stays(tmp_path: Path, delimiter: str, newline: str, start: str) -> None:
    """Whatever names are in a file, and however it is written, filling a cell changes that cell alone."""
    names = [name.replace("\ud800", "") for name in HOSTILE]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    writer.writerows([["Name", "Grade", 'a "quoted" header'], *([name, "@", "x"] for name in names)])
    before = (start + text.getvalue()).encode()
    sheet = read(written(tmp_path / "sheet.csv", before))
    assert sheet.header == ["Name", "Grade", 'a "quoted" header']
    assert [sheet.values(i)[0] for i in range(1, len(sheet.rows))] == names
    assert sheet.content() == before
    for row in sheet.rows[1:]:
        row[1] = "9.5"
    assert sheet.content() == before.replace(
        f"{delimiter}@{delimiter}x".encode(), f"{delimiter}9.5{delimiter}x".encode()
    )


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_ends_as_it_ended(tmp_path: Path, end: str) -> None:
    """A last row without a line break, an empty last cell and empty rows come back as they were."""
    path = written(tmp_path / "sheet.csv", f'a,b\n"1",{end}')
    assert read(path).content() == path.read_bytes()
    assert read(path).values(1) == ["1", ""]


def test_reads_as_php_writes(tmp_path: Path) -> None:
    """Where PHP leaves a quotation mark after a backslash alone, the cell goes on, as it does for Moodle."""
    path = written(tmp_path / "sheet.csv", 'a,b\n"G\\"odel, Kurt",5\n')
    assert read(path, backslash=True).values(1) == ['G\\"odel, Kurt', "5"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no CSV file in UTF-8"),
        ("Name,Grade\nJürgen,1\n".encode("latin-1"), "no CSV file in UTF-8"),
        ("Name,Grade\n".encode("utf-16"), "no CSV file in UTF-8"),
        ("Name\nAda\n", "neither commas nor semicolons"),
        ('Name,Grade\nAda,"1\nBob,2\n', "row 2: a quotation mark is not closed"),
        (b"a,b\n" + b"x" * MAX_BYTES, "larger than 50 MB"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path: Path, content: str | bytes, said: str) -> None:
    """A file that cannot be read as it was exported is refused in a sentence, with what to do."""
    with pytest.raises(SheetError, match=said) as error:
        read(written(tmp_path / "sheet.csv", content))
    assert error.value.fix.endswith(".")


def test_says_that_a_file_is_missing(tmp_path: Path) -> None:
    """So is one that is not there, or a folder."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(SheetError, match="cannot be read"):
            read(path)


def test_a_row_with_other_cells_than_the_header_is_named(tmp_path: Path) -> None:
    """A row that lost or won a cell is never filled at the wrong place."""
    sheet = read(written(tmp_path / "sheet.csv", "a,b\n1,2\n3\n"))
    assert sheet.whole(1) == ["1", "2"]
    with pytest.raises(SheetError, match="row 3: there are 1 cells, and 2 in the header"):
        sheet.whole(2)
