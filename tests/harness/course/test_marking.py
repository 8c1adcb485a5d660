"""Everybody's grades, out of a folder of results."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graders.harness.cli.publish import reveal
from graders.harness.course.anonymity import Key, KeyFileError, hide
from graders.harness.course.answers import read_points, write
from graders.harness.course.discovery import Attempt, HandIns
from graders.harness.course.journal import Entry as Entered
from graders.harness.course.journal import Journal
from graders.harness.course.marking import ANSWERS, course
from graders.harness.course.order import Order
from graders.harness.course.roster import Entry, Roster
from graders.harness.course.rules import Rules
from graders.harness.course.store import Store
from graders.harness.marks import Grade, Status, Student
from graders.harness.report import wording
from graders.harness.result import CheckResult, Outcome, Result

CHECKOUT = Path(__file__).parents[3]
NOTEBOOK = (CHECKOUT / "reference_solutions" / "ex3.ipynb").read_bytes()
RUN = {"ended": "completed", "cell": None, "error": None, "seconds": 3.0, "peak_memory_bytes": 1 << 30, "device": "cpu"}
DUE = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
ADA, BOB, CARL = Student("101", "Ada"), Student("102", "Bob"), Student("103", "Carl")


def result(score: float, outcome: Outcome = Outcome.PASSED) -> Result:
    return Result("ex3", RUN, (CheckResult("style_shift", "The style", outcome, score, 35),))


class Results:
    """A folder of results that is filled without running notebooks."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)

    def hand_in(
        self,
        student: Student,
        status: Status = Status.GRADED,
        score: float = 0.0,
        days_late: float | None = None,
        outcome: Outcome = Outcome.PASSED,
        late: bool = False,
        notebook: bytes = NOTEBOOK,
    ) -> None:
        number = sum(s.student == student for s in self.store.attempts())
        when = None if days_late is None else DUE + timedelta(days=days_late)
        attempt = Attempt(student, "ex3", f"try-{number}.ipynb", "path", late=late, submitted=when)
        stored = self.store.deposit(attempt, notebook + b"\n" * (number + 1))
        if status is Status.GRADED:
            stored.graded.mkdir()
            result(score, outcome).save(stored.graded / "result.json")
        self.store.update(stored.concluded(status, "" if status is Status.GRADED else "It broke."))

    def grades(self, *, roster: tuple[Entry, ...] = (), **rules: object) -> dict[str, Grade]:
        self.store.write_order(Order(Rules(("ex3",), **rules), Roster(roster), "a folder"))  # type: ignore[arg-type]
        made = course(Store(self.store.root))  # read again, as the next command does
        return {record.student.id: record.grades["ex3"] for record in made.gradebook.records}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def test_the_last_attempt_counts_or_the_best(results: Results) -> None:
    """Of several attempts the one counts that the rules say, and it is told which."""
    for score in (20, 35, 30):
        results.hand_in(ADA, score=score)
    last, best = results.grades()["101"], results.grades(attempts="best")["101"]
    assert (last.score, last.attempt, last.attempts) == (30, 3, 3)
    assert (best.score, best.attempt, best.attempts) == (35, 2, 3)


def test_a_later_attempt_in_which_nothing_was_done(results: Results) -> None:
    """It counts, for who decides that is a person; and that person is told of the earlier one, until they have decided."""
    assignment = (CHECKOUT / "assignments" / "ex3.ipynb").read_bytes()
    for student, order in ((ADA, (NOTEBOOK, assignment)), (BOB, (assignment, NOTEBOOK)), (CARL, (assignment,) * 2)):
        for notebook in order:
            results.hand_in(student, score=35.0 * (notebook is NOTEBOOK), notebook=notebook)
    grades = results.grades()
    assert [grades[one.id].score for one in (ADA, BOB, CARL)] == [0, 35, 0]
    assert "in attempt 1 something was filled in" in grades["101"].note
    assert not grades["102"].note + grades["103"].note
    Journal(results.store.root).add(Entered("101", "ex3", "attempt", "", 2.0, "She meant it.", "Grace"))
    assert not results.grades()["101"].note


def test_an_untouched_attempt_that_was_never_graded(results: Results) -> None:
    """Of two in which nothing was filled in neither was worked on, also where only the last was graded; nor was a refused one."""
    assignment = (CHECKOUT / "assignments" / "ex3.ipynb").read_bytes()
    for student, earlier in ((ADA, assignment), (BOB, b"no notebook"), (CARL, NOTEBOOK)):
        results.store.deposit(Attempt(student, "ex3", "first.ipynb", "path"), earlier)
        results.hand_in(student, notebook=assignment)
    grades = results.grades()
    assert not grades["101"].note + grades["102"].note
    assert "in attempt 1 something was filled in" in grades["103"].note


def test_last_is_told_by_time_where_that_is_known(results: Results) -> None:
    """An attempt that was handed in before, but found later, is not the last."""
    results.hand_in(ADA, score=35, days_late=-1)
    results.hand_in(ADA, score=10, days_late=-2)
    assert results.grades()["101"].score == 35


def test_late(results: Results) -> None:
    """Each day that has begun costs its share, and no more than was earned; who has more time is not late."""
    results.hand_in(ADA, score=30, days_late=1.5)
    results.hand_in(BOB, score=30, days_late=1.5)
    results.hand_in(CARL, score=2, days_late=0.1)
    more_time = Entry(BOB, due=DUE + timedelta(days=2))
    grades = results.grades(due={"ex3": DUE}, late_penalty=10, roster=(more_time,))
    of = grades["101"].of
    assert grades["101"].late
    assert grades["101"].penalty == pytest.approx(0.2 * of)
    assert grades["101"].score == pytest.approx(30 - 0.2 * of)
    assert (grades["102"].late, grades["102"].score) == (False, 30)
    assert grades["103"].score == 0


def test_late_without_a_time_is_told_and_costs_nothing(results: Results) -> None:
    """Canvas says only that something is late, and takes points off itself."""
    results.hand_in(ADA, score=30, late=True)
    grade = results.grades(due={"ex3": DUE}, late_penalty=10)["101"]
    assert (grade.late, grade.score) == (True, 30)


def test_late_by_nobody_knows_how_much(results: Results) -> None:
    """Where the course system says that it was late but not when it came, no points are taken, and a person is told."""
    results.hand_in(ADA, score=30, late=True)
    results.hand_in(BOB, score=30)
    grades = results.grades(due={"ex3": DUE}, late_penalty=10)
    assert (grades["101"].late, grades["101"].penalty) == (True, 0)
    assert "nobody knows by how much" in grades["101"].note
    assert not grades["102"].note


def test_the_best_attempt_is_the_best_with_what_lateness_costs(results: Results) -> None:
    """A late attempt with more points may be worth less."""
    results.hand_in(ADA, score=30, days_late=-1)
    results.hand_in(ADA, score=33, days_late=2)
    assert results.grades(attempts="best", due={"ex3": DUE}, late_penalty=10)["101"].score == 30


def test_everybody_of_the_roster_is_there(results: Results) -> None:
    """Who handed in nothing is missing with no points, who is exempt has no score, and nobody is there twice."""
    results.hand_in(Student("ada-l", "ada lovelace"), score=30)
    roster = (
        Entry(Student("101", "Lovelace, Ada", login="ada-l")),
        Entry(BOB),
        Entry(CARL, exempt=frozenset({"ex3"})),
    )
    grades = results.grades(roster=roster)
    assert {student: (grade.status, grade.score) for student, grade in grades.items()} == {
        "101": (Status.GRADED, 30),
        "102": (Status.MISSING, 0),
        "103": (Status.EXEMPT, None),
    }


def test_trouble_is_never_a_zero(results: Results) -> None:
    """What the machine broke has no score; what nobody could grade has none of its points, and both say why."""
    results.hand_in(ADA, Status.TROUBLE)
    results.hand_in(BOB, Status.REFUSED)
    results.hand_in(CARL, score=35, outcome=Outcome.GRADER_FAULT)
    grades = results.grades()
    assert (grades["101"].score, grades["101"].final) == (None, False)
    assert (grades["102"].score, grades["102"].final) == (0, True)
    assert (grades["103"].score, grades["103"].final) == (35, False)
    assert grades["101"].note == grades["102"].note == "It broke."


def test_points_of_a_person_go_into_the_total(results: Results) -> None:
    """Points that were entered for written answers are added, once all answers are read."""
    results.hand_in(ADA, score=30)
    grade = results.grades()["101"]
    assert (grade.written, grade.max_written, grade.final) == (None, 4, False)
    file = results.store.root / ANSWERS
    answers = list(course(Store(results.store.root)).answers)
    assert [answer.of for answer in answers] == [2, 2]
    write(answers, file)
    lines = file.read_text(encoding="utf-8-sig").rstrip("\n")
    file.write_text(lines.removesuffix(",").rstrip() + ",1.5\n", encoding="utf-8")  # the last answer's points
    assert list(read_points(file).values()) == [1.5]
    assert results.grades()["101"].written is None
    with_both = [a.__class__(**{**vars(a), "points": points}) for a, points in zip(answers, (2.0, 1.5), strict=True)]
    write(with_both, file)
    grade = results.grades()["101"]
    assert (grade.written, grade.score, grade.final) == (3.5, 33.5, True)


def test_exercises_come_one_after_the_other(results: Results) -> None:
    """A batch of another exercise into the same folder leaves the first in the gradebook, with its date and the roster."""
    results.hand_in(ADA, score=30, days_late=1)
    store = results.store
    store.extend(Order(Rules(("ex3",), due={"ex3": DUE}), Roster((Entry(BOB),)), "a Canvas zip"))
    store.extend(Order(Rules(("ex1",), due={"ex1": DUE + timedelta(days=9)}), Roster(), "a folder"))
    gradebook = course(Store(store.root)).gradebook
    assert gradebook.exercises == ("ex1", "ex3")
    given = {r.student.id: {name: (g.status, g.late) for name, g in r.grades.items()} for r in gradebook.records}
    assert given["101"] == {"ex1": (Status.MISSING, False), "ex3": (Status.GRADED, True)}
    assert given["102"] == {"ex1": (Status.MISSING, False), "ex3": (Status.MISSING, False)}


def test_a_group_is_kept(results: Results) -> None:
    """Each of a group has the mark, and it is known with whom they handed in, and whose list it was."""
    for student in (ADA, BOB):
        stored = results.store.deposit(Attempt(student, "ex3", "ex3.ipynb", "path", group="Team 7"), NOTEBOOK)
        results.store.update(stored.concluded(Status.REFUSED, "It is no notebook."))
    grades = results.grades(roster=(Entry(ADA, groups=("Team 7",)), Entry(BOB, groups=("Team 7", "T2"))))
    assert {name: grade.group for name, grade in grades.items()} == {"101": "Team 7", "102": "Team 7"}
    assert [entry.groups for entry in Store(results.store.root).roster.entries] == [("Team 7",), ("Team 7", "T2")]
    assert "together with others" in next(wording.remarks(grades["101"]))


def test_an_attempt_is_kept_once(results: Results) -> None:
    """The same notebook handed in again is no second attempt, and a new one does not replace the first."""
    attempt = Attempt(ADA, "ex3", "ex3.ipynb", "path")
    first = results.store.deposit(attempt, b"one")
    assert results.store.deposit(attempt, b"one") == first
    assert Store(results.store.root).deposit(attempt, b"one") == first
    second = results.store.deposit(attempt, b"two")
    assert (first.number, second.number) == (1, 2)
    assert first.notebook.read_bytes() == b"one"


def test_handed_in_again(results: Results) -> None:
    """A, then B, then A again is A; the same download once more changes nothing, and neither does one with all attempts."""
    attempt, store = Attempt(ADA, "ex3", "ex3.ipynb", "path"), results.store
    for content, number in [(b"A", 1), (b"B", 2), (b"B", 2), (b"A", 3), (b"A", 3)]:
        assert store.deposit(attempt, content).number == number
    known = None
    for content, number in [(b"A", 1), (b"B", 2), (b"A", 3), (b"C", 4)]:
        known = store.deposit(attempt, content, after=known, alone=False)
        assert known.number == number
    timed = [replace(attempt, exercise="ex1", submitted=DUE + timedelta(days=day)) for day in (1, 2, 1, 2)]
    assert [store.deposit(one, b"A").number for one in timed] == [1, 2, 1, 2]


NAMES = (
    "../../etc/passwd",
    "=cmd()",
    "a" * 300,
    "Zoë 💥",
    "نور",
    "line\nbreak",
    "",
    "..",
    "\udcff",
    "CON",
    "a/b",
    "a\\b",
)


def test_students_of_any_name_have_a_folder_of_their_own(results: Results) -> None:
    """No name leaves the folder of results, is too long for a file system, or is lost."""
    for name in NAMES:
        results.hand_in(Student(name, name), score=1)
    assert results.grades().keys() == set(NAMES)
    folders = list((results.store.root / "hand-ins").iterdir())
    assert len(folders) == len(NAMES)
    assert all(len(folder.name) < 60 and folder.name.isascii() for folder in folders)


def test_anonymous(tmp_path: Path) -> None:
    """The results hold numbers, the key says who is who, the same person keeps their number, and names can be had back."""
    found = HandIns("x", None, [Attempt(ADA, "ex3", "ada.ipynb", "p"), Attempt(BOB, "ex3", "b.ipynb", "p")])  # type: ignore[arg-type]
    roster = Roster((Entry(Student("9", "Lovelace", login="101")),))
    hidden, listed = hide(found, roster, Key(tmp_path / "key.csv", tmp_path / "results"))
    again, _ = hide(found, roster, Key(tmp_path / "key.csv", tmp_path / "results"))
    assert [a.student for a in hidden.attempts] == [a.student for a in again.attempts]
    told = repr((hidden, listed))
    assert not [name for name in ("Ada", "ada", "Bob", "101", "102", "Lovelace", "b.ipynb") if name in told]
    assert listed.entries[0].student == hidden.attempts[0].student
    assert (tmp_path / "key.csv").stat().st_mode & 0o077 == 0
    results = Results(tmp_path / "results")
    for attempt in hidden.attempts:
        results.hand_in(attempt.student, score=5)
    results.grades(roster=listed.entries)
    revealed = reveal(course(results.store), Key(tmp_path / "key.csv", tmp_path / "results"))
    assert [record.student.name for record in revealed.gradebook.records] == ["Bob", "Lovelace"]
    assert {answer.hand_in for answer in revealed.answers} == {"9", "102"}
    with pytest.raises(KeyFileError):
        Key(tmp_path / "results" / "key.csv", tmp_path / "results")
