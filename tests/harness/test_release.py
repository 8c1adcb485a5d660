"""Assignments are made from reference solutions, and give nothing away."""

import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from graders.harness.release import ReleaseError, start, without_solutions

REPOSITORY = Path(__file__).parents[2]
EXERCISES = sorted(path.name for path in (REPOSITORY / "reference_solutions").glob("*.ipynb"))


@pytest.mark.parametrize("name", EXERCISES)
def test_assignment_is_the_solution_without_its_solutions(name: str) -> None:
    """The assignment in the repository is what `grade release` makes of the reference solution today."""
    solution = nbformat.read(REPOSITORY / "reference_solutions" / name, as_version=4)
    assignment = nbformat.read(REPOSITORY / "assignments" / name, as_version=4)
    assert assignment == without_solutions(solution)


def secrets(name: str) -> set[str]:
    """The lines of a reference solution that stand between solution markers."""
    secret = set()
    for cell in nbformat.read(REPOSITORY / "reference_solutions" / name, as_version=4).cells:
        inside = False
        for line in cell.source.splitlines():
            if "### BEGIN SOLUTION" in line or "### END SOLUTION" in line:
                inside = "BEGIN" in line
            elif inside and len(line.strip()) > 15:
                secret.add(line.strip())
    assert len(secret) > 5
    return secret


@pytest.mark.parametrize("name", EXERCISES)
def test_no_solution_leaks(name: str) -> None:
    """No line that stands between solution markers stands anywhere in the assignment."""
    assignment = nbformat.read(REPOSITORY / "assignments" / name, as_version=4)
    handed_out = {line.strip() for cell in assignment.cells for line in cell.source.splitlines()}
    assert handed_out.isdisjoint(secrets(name))


def test_wheel_gives_nothing_away(tmp_path: Path) -> None:
    """What students install holds every assignment, and no reference solution or passage of one of its answers."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        notebooks = {name: archive.read(name).decode() for name in names if name.endswith(".ipynb")}
    assert not [name for name in names if "reference_solutions" in name or "tests" in name or ".build" in name]
    assert sorted(Path(name).name for name in notebooks) == EXERCISES
    assert not [name for name, text in notebooks.items() if "BEGIN SOLUTION" in text]


def test_start_never_replaces_work(tmp_path: Path) -> None:
    """`grade start` gives every notebook with what it points at, and leaves a notebook that is there as it is."""
    assert all(new for _, new in start(tmp_path))
    for path in (tmp_path / "assignments").glob("*.ipynb"):
        (parameters,) = (c for c in nbformat.read(path, 4).cells if "parameters" in c.metadata.get("tags", ()))
        given: dict[str, object] = {}
        exec(parameters.source, {}, given)
        named = [v for v in given.values() if isinstance(v, str) and v.startswith("../")]
        named += [p for v in given.values() if isinstance(v, dict) for p in v.values() if isinstance(p, str)]
        assert named
        assert all((path.parent / name).exists() for name in named), (path.name, named)
    mine = tmp_path / "assignments" / "ex3.ipynb"
    mine.write_text("mine")
    assert dict(start(tmp_path))[mine] is False
    assert mine.read_text() == "mine"


def test_unbalanced_markers() -> None:
    """A solution that is begun and never ended is refused in words, rather than handed out."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("### BEGIN SOLUTION\nx = 1")])
    with pytest.raises(ReleaseError) as refused:
        without_solutions(notebook)
    assert "### END SOLUTION" in refused.value.fix
