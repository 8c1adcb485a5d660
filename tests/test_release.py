"""Assignments are made from reference solutions, and give nothing away."""

from pathlib import Path

import nbformat
import pytest

from graders.release import ReleaseError, without_solutions

REPOSITORY = Path(__file__).parents[1]
EXERCISES = sorted(path.name for path in (REPOSITORY / "reference_solutions").glob("*.ipynb"))


@pytest.mark.parametrize("name", EXERCISES)
def test_assignment_is_the_solution_without_its_solutions(name: str) -> None:
    """The assignment in the repository is what `grade release` makes of the reference solution today."""
    solution = nbformat.read(REPOSITORY / "reference_solutions" / name, as_version=4)
    assignment = nbformat.read(REPOSITORY / "assignments" / name, as_version=4)
    assert assignment == without_solutions(solution)


@pytest.mark.parametrize("name", EXERCISES)
def test_no_solution_leaks(name: str) -> None:
    """No line that stands between solution markers stands anywhere in the assignment."""
    solution = nbformat.read(REPOSITORY / "reference_solutions" / name, as_version=4)
    assignment = nbformat.read(REPOSITORY / "assignments" / name, as_version=4)
    handed_out = {line.strip() for cell in assignment.cells for line in cell.source.splitlines()}
    secret = []
    for cell in solution.cells:
        inside = False
        for line in cell.source.splitlines():
            if "### BEGIN SOLUTION" in line or "### END SOLUTION" in line:
                inside = "BEGIN" in line
            elif inside and len(line.strip()) > 15:
                secret.append(line.strip())
    assert len(secret) > 20
    assert handed_out.isdisjoint(secret)


def test_unbalanced_markers() -> None:
    """A solution that is begun and never ended is refused in words, rather than handed out."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("### BEGIN SOLUTION\nx = 1")])
    with pytest.raises(ReleaseError) as refused:
        without_solutions(notebook)
    assert "### END SOLUTION" in refused.value.fix
