"""An attempt in the folder of results: what was handed in, and what has become of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from graders.harness import lessons
from graders.harness.data import documents, files
from graders.harness.data.documents import DamagedError, Fields
from graders.harness.data.saving import put, set_aside
from graders.harness.data.values import Malformed
from graders.harness.marks import Status, Student, folder_name
from graders.harness.result import Result, of_document
from graders.harness.run.beside import FILE
from graders.harness.run.notebook import MAX_BYTES


@dataclass(frozen=True)
class Stored:
    """An attempt in the folder of results; ``status`` is None until something has become of it.

    ``digest`` is a hash of the notebook, ``beside`` one of the archive of files that came with it, "" if none did. ``problem``
    and ``fix`` say why there is no result; ``missing`` are modules that it imports and that are neither installed nor handed
    in. ``group`` names those who handed it in together, "" if somebody did alone. ``others`` are other notebooks for the
    exercise that came at once with it, and ``told_by`` is what told that it is the last of them. ``damage`` is what
    makes its own record unusable: of such an attempt no more is known than the folder says.
    """

    folder: Path
    student: Student
    exercise: str
    number: int
    file: str
    digest: str
    submitted: datetime | None = None
    late: bool = False
    status: Status | None = None
    problem: str = ""
    fix: str = ""
    damage: str = ""
    missing: tuple[str, ...] = ()
    beside: str = ""
    group: str = ""
    others: tuple[str, ...] = ()
    told_by: str = ""

    @property
    def mend(self) -> str:
        """What to do about damage in it."""
        return f"Grade it again: grade batch HAND-INS -o {self.folder.parents[3]}, with the options as before."

    @property
    def notebook(self) -> Path:
        """The notebook as it was handed in."""
        return self.folder / f"{self.exercise}.ipynb"

    @property
    def graded(self) -> Path:
        """The folder that grading leaves."""
        return self.folder / "graded"

    @property
    def result(self) -> Result | None:
        """The result, if there is one; :class:`DamagedError` if what is stored is not what grading left of this hand-in."""
        if self.damage:
            raise DamagedError(self.damage, self.mend)
        if self.status is not Status.GRADED:
            return None
        runs = [path.name for path in (self.graded / "run", self.graded / "again") if os.path.lexists(path)]
        kept = [f"{self.exercise}.ipynb", *(f"graded/{name}/notebook.ipynb" for name in runs)]
        for name in kept:
            try:
                content = files.read_file(self.folder, name, MAX_BYTES)
            except FileNotFoundError:
                raise DamagedError(f"{self.folder / name} is missing.", self.mend) from None
            except (files.Refused, OSError) as error:
                raise DamagedError(f"{self.folder} cannot be used: {error}.", self.mend) from None
            if hashlib.sha256(content).hexdigest() != self.digest:
                raise DamagedError(f"{self.folder / name} is not the notebook that was handed in.", self.mend)
        lessons.meant().profile_in(self.graded)  # the profile that it was graded with
        result = documents.read(self.folder, "graded/result.json", of_document, self.mend)
        if result.exercise != self.exercise:
            raise DamagedError(f"{self.graded / 'result.json'} is the result of another exercise.", self.mend)
        return result

    def keep_beside(self, files: bytes) -> None:
        """Write the archive of the files that came with it, unless it is there as it was; remove one that is not its own."""
        place = self.folder / FILE
        if not files:
            set_aside(place)
        elif not place.is_file() or place.is_symlink() or place.read_bytes() != files:
            put(files, place)

    def holds(self, digest: str) -> bool:
        """Whether the notebook that is kept is the one with this hash."""
        try:
            return hashlib.sha256(files.read_file(self.folder, self.notebook.name, MAX_BYTES)).hexdigest() == digest
        except (files.Refused, OSError):
            return False

    def concluded(self, status: Status, problem: str = "", fix: str = "", missing: tuple[str, ...] = ()) -> Stored:
        """What has become of it, written down."""
        stored = replace(self, status=status, problem=problem, fix=fix, missing=missing)
        stored.save()
        return stored

    def save(self) -> None:
        """Write everything but the notebook."""
        document = {key: value for key, value in asdict(self).items() if key not in ("folder", "damage")}
        documents.write(document, self.folder / "hand-in.json")

    def set_damage_aside(self) -> Stored:
        """Make room for grading it again: what is damaged of it stays there under another name."""
        if not os.path.lexists(self.graded):
            return self if self.status is not Status.GRADED else self._forgotten()
        try:
            replace(self, status=Status.GRADED).result  # noqa: B018
        except DamagedError:
            set_aside(self.graded)
            return self._forgotten()
        return self

    def _forgotten(self) -> Stored:
        stored = replace(self, status=None)
        stored.save()
        return stored

    @classmethod
    def of(cls, folder: Path, fields: Fields) -> Stored:
        """What the record in a folder says; :class:`Malformed` if it says nothing of an attempt that belongs there."""
        student = student_of(fields.object("student"))
        exercise, number = fields.text("exercise"), fields.whole("number", 1)
        if (folder_name(student.id), exercise, str(number)) != folder.parts[-3:]:
            raise Malformed("it belongs into another folder")
        return cls(
            folder,
            student,
            exercise,
            number,
            fields.text("file"),
            fields.text("digest"),
            fields.moment("submitted"),
            fields.flag("late"),
            None if fields["status"] is None else Status(fields.text("status")),
            fields.text("problem"),
            fields.text("fix"),
            missing=fields.texts("missing") if "missing" in fields.all() else (),
            beside=fields.text("beside") if "beside" in fields.all() else "",
            group=fields.text("group") if "group" in fields.all() else "",
            others=fields.texts("others") if "others" in fields.all() else (),
            told_by=fields.text("told_by") if "told_by" in fields.all() else "",
        )


def student_of(fields: Fields) -> Student:
    """Who it is, as they were written down."""
    return Student(*(fields.text(name) for name in ("id", "name", "login", "sis_id", "email")))
