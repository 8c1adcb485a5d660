"""Files that are written whole or not at all."""

from pathlib import Path

import pytest

from graders.harness.data.saving import put, save


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    """Nothing but the finished file is left, and where it cannot be written the old one stays."""
    path = tmp_path / "grades.csv"
    save(b"old", path)
    save(b"new", path)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("grades.csv", b"new")]
    (tmp_path / "grades.csv.partial").mkdir()
    with pytest.raises(OSError, match="partial"):
        save(b"newest", path)
    assert path.read_bytes() == b"new"


def test_a_private_file_is_private_whatever_was_left(tmp_path: Path) -> None:
    """What somebody could open before is not what is written to."""
    path = tmp_path / "key.csv"
    (tmp_path / "key.csv.partial").write_bytes(b"half")
    (tmp_path / "key.csv.partial").chmod(0o666)
    save(b"who is who", path, mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"who is who", 0o600)


def test_what_stands_in_the_way_is_set_aside(tmp_path: Path) -> None:
    """In a folder of the graders' own, a folder in place of a file is kept under another name, and so is the next one."""
    path = tmp_path / "grades.csv"
    for _ in range(2):
        (path / "mine").mkdir(parents=True)
        put(b"new", path)
        assert path.read_bytes() == b"new"
        path.unlink()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["grades.csv.damaged-1", "grades.csv.damaged-2"]
