"""A small course, with people whose names are written to do harm."""

from datetime import UTC, datetime
from typing import Any

from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.result import CheckResult, Outcome, Result

RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 61.24, "peak_memory_bytes": 1, "device": "cpu"}
HOSTILE = (
    '=cmd|"/C calc"!A0',
    "＝1+1",
    "@SUM(1+1)*cmd",
    "-2+3",
    "Ada;=HYPERLINK(1)",
    "two\nlines\r\nand\rmore, =1",
    'Robert "Bobby", Tables',
    "\u202egnp.xslx\u202c",
    "\t=1",
    "🦊 家人",
    "O'Neil <b>&amp;</b> ]]>",
    "nul\x00 bell\x07 esc\x1b[31m half\ud800",
)
"""Names that begin formulas, end cells and rows, turn the direction of writing, or are no text at all."""


def check(outcome: Outcome, score: float = 0.0, max_score: float = 0.0, **texts: Any) -> CheckResult:
    return CheckResult(
        texts.pop("id", outcome.value), texts.pop("title", "A title"), outcome, score, max_score, **texts
    )


def result(score: float = 7.25, max_score: float = 10.0, *checks: CheckResult, **run: Any) -> Result:
    lost = check(Outcome.PASSED if score == max_score else Outcome.FAILED, score, max_score, found="Something.")
    return Result("ex1", RUN | run, (lost, *checks))


def grade(exercise: str, status: Status = Status.GRADED, score: float = 7.25, **others: Any) -> Grade:
    """Of 12 points, 2 of them for written answers, of which somebody gave 1.5."""
    graded = {"result": result(score), "written": 1.5} if status is Status.GRADED else {}
    return Grade(exercise, status, 10.0, 2.0, **(graded | others))


def record(student: Student, *grades: Grade) -> Record:
    return Record(student, {one.exercise: one for one in grades})


def book(*records: Record) -> Gradebook:
    names = dict.fromkeys(name for one in records for name in one.grades)
    return Gradebook({name: f"The title of {name}" for name in names}, tuple(records))


ADA = Student("101", "Ada Lovelace", "ada", "S-1", "ada@example.org")
BOB = Student("102", "Bob Ross", "bob", "S-2", "bob@example.org")
CY = Student("103", "Cy Twombly", "cy", "S-3", "cy@example.org")
DEE = Student("104", "Dee Dee", "dee", "S-4", "dee@example.org")
EVE = Student("105", "Eve Arden", "eve", "S-5", "eve@example.org")
WHEN = datetime(2026, 5, 3, 14, 5, tzinfo=UTC)


def course() -> Gradebook:
    """Two exercises, and each status there is."""
    return book(
        record(ADA, grade("ex1", submitted=WHEN), grade("ex3", score=10.0, penalty=1.2, late=True, submitted=WHEN)),
        record(BOB, grade("ex1", Status.TROUBLE), grade("ex3", written=None)),
        record(CY, grade("ex1", Status.MISSING), grade("ex3", Status.EXEMPT)),
        record(DEE, grade("ex1", Status.REFUSED, note="It is no notebook."), grade("ex3", score=0.1 + 0.2)),
        record(EVE, grade("ex1", Status.EXEMPT), grade("ex3", Status.EXEMPT)),
    )
