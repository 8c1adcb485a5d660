"""An autograder for Gradescope: the zip archive that an instructor uploads, and what then runs there.

Gradescope unpacks the archive to ``/autograder/source``, runs its ``setup.sh`` once, and its ``run_autograder`` for every
submission, in a machine of its own for each: https://gradescope-autograders.readthedocs.io/en/latest/specs/.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo, is_zipfile

from graders.harness import DISTRIBUTION, lessons
from graders.harness.data.names import exercises_named
from graders.harness.data.saving import save
from graders.harness.data.scratch import Scratch
from graders.harness.data.values import one_line
from graders.harness.errors import ExplainedError
from graders.harness.gradebooks.gradescope import refused, results, to_json, trouble
from graders.harness.lesson import Lesson
from graders.harness.result import load
from graders.harness.run.notebook import read as read_notebook

ROOT = "AUTOGRADER_ROOT"
"""The environment variable that names another folder than ``/autograder``."""
_SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the autograder is built. It installs the graders with a CPU build of torch.
set -euo pipefail
root="${AUTOGRADER_ROOT:-/autograder}"
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends bubblewrap
for version in 3.12 3.13 3.11; do
    if apt-get install --yes --no-install-recommends "python$version" "python$version-venv"; then
        "python$version" -m venv "$root/venv"
        break
    fi
done
if [ ! -x "$root/venv/bin/python" ]; then
    echo "There is no Python 3.11 to 3.13 for this image: choose Ubuntu 22.04 or later in Gradescope." >&2
    exit 1
fi
"$root/venv/bin/python" -m pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \\
    --constraint "$root/source/constraints.txt" \\
    WHEELS
"""
_RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for every submission. Whatever happens to what follows, there is a results.json from now on.
root="${{AUTOGRADER_ROOT:-/autograder}}"
mkdir -p "$root/results"
cat > "$root/results/results.json" <<'JSON'
{trouble}JSON
export {variable}={lesson}
"$root/venv/bin/python" -m graders.harness.gradebooks.autograder {exercise} --isolation {isolation} || true
"""


class AutograderError(ExplainedError):
    """What an autograder is made of is not there."""


def pack(
    exercise: str,
    wheels: Sequence[Path],
    constraints: Path,
    isolation: Literal["none", "bubblewrap"] = "bubblewrap",
) -> bytes:
    """The archive for an assignment that is ``exercise`` of the lesson that is meant; ``constraints`` has the versions.

    One of the ``wheels`` is the graders', and another the lesson's, where it is a package of its own. What only a package of the
    instructors' can decide takes that from beside the lesson's wheel.

    Of Gradescope's images it needs one that has Python 3.11 to 3.13: Ubuntu 22.04 or later. Allow it there the longest time
    that there is: the graders let a notebook run for half an hour before they end it and grade what it had reached.

    With "bubblewrap" a hand-in runs in the sandbox, and is not graded where there can be none: submit a reference solution
    to see. With "none" it runs with the rights of the graders, and one that is written for it can give itself any score.

    Raises :class:`AutograderError`.
    """
    lesson = lessons.meant()
    if exercise not in lesson.names:
        raise AutograderError(f"There is no exercise {exercise!r}.", f"Exercises are: {', '.join(lesson.names)}.")
    packed = _packages(lesson, exercise, wheels)
    if not constraints.is_file():
        raise AutograderError(f"There is no file {constraints}.", "Give constraints.txt of a checkout of the graders.")
    asked = {"exercise": exercise, "variable": lessons.VARIABLE, "lesson": lesson.name}
    run = _RUN.format(**asked, isolation=isolation, trouble=to_json(trouble()).decode())
    installed = [f"{path.name}[notebooks]" if _is_ours(path) else path.name for path in packed]
    setup = _SETUP.replace("WHEELS", " ".join(f'"$root/source/{name}"' for name in installed))
    archive = io.BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as file:
        for name, content, mode in (
            ("setup.sh", setup.encode(), 0o755),
            ("run_autograder", run.encode(), 0o755),
            ("constraints.txt", constraints.read_bytes(), 0o644),
            *((path.name, path.read_bytes(), 0o644) for path in packed),
        ):
            entry = ZipInfo(name)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = ZIP_STORED if name.endswith(".whl") else ZIP_DEFLATED
            file.writestr(entry, content)
    return archive.getvalue()


def _packages(lesson: Lesson, exercise: str, wheels: Sequence[Path]) -> list[Path]:
    """The wheels, and the instructors' of the lesson if it is there; :class:`AutograderError` if one is missing."""
    for path in wheels:
        if not (path.suffix == ".whl" and is_zipfile(path)):
            raise AutograderError(f"{path} is no wheel.", "Make the graders' in a checkout: make wheel")
    if not any(map(_is_ours, wheels)):
        given = ", ".join(path.name for path in wheels)
        raise AutograderError(f"The graders' wheel is not among: {given}.", "Make one in a checkout: make wheel")
    module = f"{lesson.home.name}/__init__.py"
    home = next((path for path in wheels if module in ZipFile(path).namelist()), None)
    if home is None:
        raise AutograderError(
            f"The lesson {lesson.name} is in none of these wheels.",
            "Make its wheel (pip wheel --no-deps FOLDER), and give it as well: --wheel WHEEL",
        )
    instructors = home.with_name(home.name.replace("-", "_instructors-", 1))
    if is_zipfile(instructors):
        return [*wheels, *({instructors} - {*wheels})]
    if exercise in lesson.for_instructors:
        raise AutograderError(
            f"The instructors' package {instructors.name} is not beside {home.name}.", "Make both: make wheel"
        )
    return [*wheels]


def _is_ours(wheel: Path) -> bool:
    return wheel.name.startswith(f"{DISTRIBUTION.replace('-', '_')}-")


def grade(exercise: str, root: Path, isolation: str) -> dict[str, Any]:
    """Grade what was handed in to ``root``, and return what ``results.json`` is to say."""
    try:
        notebook = _notebook(exercise, root / "submission")
        read_notebook(notebook)
    except ExplainedError as error:
        return refused(str(error))
    with Scratch("hand-in") as work:
        result = Path(work, "result.json")
        program = Path(sys.executable).with_name("grade")
        subprocess.run([program, exercise, notebook, "--isolation", isolation, "--json", result], cwd=work, check=False)
        # What grade says of a hand-in without a result is in the output, for the instructor
        return results(load(result)) if result.is_file() else trouble()


def _notebook(exercise: str, submission: Path) -> Path:
    """The notebook that was handed in for the exercise; what is only a link to somewhere is none."""
    copies = {".ipynb_checkpoints", "__MACOSX"}
    here = submission.resolve()
    paths = sorted(path for path in here.rglob("*.ipynb") if path.is_file() and path.resolve() == path)
    submission = here
    found = [path for path in paths if not copies & set(path.relative_to(submission).parts)]
    named = [path for path in found if exercise in exercises_named(path.name)]
    meant = found if len(found) == 1 else named
    if len(meant) == 1:
        return meant[0]
    names = one_line(", ".join(str(path.relative_to(submission)) for path in found), 300)
    problem = f"There are several notebooks: {names}." if found else "There is no notebook."
    raise AutograderError(problem, f"Hand in one notebook, and call it {exercise}.ipynb.")


def main() -> None:
    """Grade the submission that Gradescope put there, and leave its results; run by ``run_autograder``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("exercise", choices=lessons.meant().names)
    parser.add_argument("--isolation", default="bubblewrap")
    given = parser.parse_args()
    root = Path(os.environ.get(ROOT, "/autograder")).absolute()
    save(to_json(grade(given.exercise, root, given.isolation)), root / "results" / "results.json")


if __name__ == "__main__":
    main()
