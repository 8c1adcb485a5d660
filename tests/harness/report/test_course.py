"""The report on a course."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from graders.harness.course.answers import Answer
from graders.harness.course.likeness import Likeness
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.report.course import LONG_ANSWER, course_page
from graders.harness.result import CheckResult, Outcome
from graders.lora.misconceptions import MISCONCEPTIONS
from tests.harness.report import chromium
from tests.harness.report.records import (
    EVERY,
    FAILED,
    FAULT,
    PASSED,
    PERSON,
    TITLES,
    Page,
    grade,
    nothing,
    record,
    saying,
)
from tests.harness.report.test_html import attack

STUDENTS = 300
SHARES = {"rare": 10, "often": 2, "dear": 3, "never": 0}
"""Every how manyth student fails a check of this name."""


def check(name: str, outcome: Outcome, worth: float = 2, slug: str | None = None) -> CheckResult:
    score = worth if outcome is Outcome.PASSED else 0
    return CheckResult(name, f"The {name} check", outcome, score, worth, misconception=slug)


def checks(number: int) -> list[CheckResult]:
    made = []
    for name, every in SHARES.items():
        failed = every > 0 and number % every == 0
        outcome = Outcome.FAILED if failed else Outcome.PASSED
        made.append(
            check(name, outcome, 10 if name == "dear" else 2, "untrained" if failed and name == "dear" else None)
        )
    return made


def student_of(number: int) -> Record:
    run = {"seconds": 100.0 + number, "peak_memory_bytes": (1 << 30) + number * (1 << 20)}
    return record(grade("ex3", *checks(number), PERSON, run=run), name=f"Student {number:03}", id=str(number))


def book(*records: Record) -> Gradebook:
    return Gradebook({"ex3": TITLES["ex3"]}, records)


def shown(page: str) -> str:
    return Page(page).text


@pytest.fixture(scope="module")
def course() -> Gradebook:
    return book(*map(student_of, range(STUDENTS)))


def test_what_cost_most_comes_first(course: Gradebook) -> None:
    """Checks stand in the order of the points that they cost all students together, each with how many failed it."""
    text = shown(course_page(course))
    dear, often, rare = (text.index(f"The {name} check") for name in ("dear", "often", "rare"))
    assert dear < often < rare
    assert "The dear check 1,000 points 33 % failed it: 100 students" in text
    assert "The rare check 60 points 10 % failed it: 30 students" in text
    assert "Cost nobody anything: The never check." in text


def test_misconceptions_with_their_meaning(course: Gradebook) -> None:
    """A misconception is counted once per student, however many checks name it, and said in words."""
    twice = record(grade("ex3", FAILED, replace(FAILED, id="x")), name="Twice", id="t")
    text = shown(course_page(book(*course.records, twice)))
    assert f"untrained ex3 {MISCONCEPTIONS['untrained']} 100 students" in text
    assert f"percent-not-fraction ex3 {MISCONCEPTIONS['percent-not-fraction']} 1 student Twice" in text
    assert text.index("untrained ex3") < text.index("percent-not-fraction ex3")


def test_scores_times_and_memory(course: Gradebook) -> None:
    """The distribution of scores, the median and the longest and largest run are told, and whose those were."""
    text = shown(course_page(course))
    bars = {int(low): int(count) for low, count in re.findall(r"(\d+) % to \d+ %: (\d+)", text)}
    # Of 16 points a hundred students have lost none, 80 only those of "often", 50 only those of "dear" …
    assert bars == {0: 0, 10: 10, 20: 40, 30: 50, 40: 0, 50: 0, 60: 0, 70: 20, 80: 80, 90: 100}
    assert "Run time median 250 s, most 399 s: Student 299" in text
    assert "Memory median 1.1 GiB, most 1.3 GiB: Student 299" in text


def test_what_a_person_has_to_look_at() -> None:
    """Trouble, faults, remarks and refusals are listed with their reasons and names, those with the same reason together."""
    records = [
        record(nothing(Status.TROUBLE, "ex3", note="The disk is full."), name="Ada", id="1"),
        record(nothing(Status.TROUBLE, "ex3", note="The disk is full."), name="Grace", id="2"),
        record(grade("ex3", PASSED, FAULT), name="Emmy", id="3"),
        record(nothing(Status.REFUSED, "ex3", note="It is a photograph."), name="Alan", id="4"),
        record(grade("ex3", PASSED, note="Two notebooks; the newer one was graded."), name="Hedy", id="5"),
        record(nothing(Status.MISSING, "ex3"), name="Jean", id="6"),
        record(nothing(Status.EXEMPT, "ex3"), name="Karen", id="7"),
    ]
    text = shown(course_page(book(*records)))
    assert "Not graded, for reasons of the machine: 2 hand-ins" in text
    assert "The disk is full. Ada, ex3 ; Grace, ex3" in text
    assert "The style grows (3 points): The grader itself failed here (KeyError). Emmy, ex3" in text
    assert text.index("Undecided, because the grader failed: 1 hand-in") < text.index(
        "Not graded, for reasons of the machine"
    )
    assert "It is a photograph. Alan, ex3" in text
    assert "the newer one was graded. Hedy, ex3" in text
    assert "2 graded, 1 refused, 1 not handed in, 1 exempt, 2 not graded for reasons of the machine" in text
    assert "Jean missing 0 of 14" in text
    assert "Karen exempt – of 0" in text


def test_how_runs_stopped() -> None:
    """Runs that did not complete are counted by how they ended, with their students."""
    error = {"ename": "E", "evalue": "e", "line": ""}
    stopped = record(grade("ex3", PASSED, run={"ended": "cell_error", "cell": 3, "error": error}), name="Ada", id="1")
    text = shown(
        course_page(book(stopped, record(grade("ex3", PASSED, run={"ended": "timeout"}), name="Alan", id="2")))
    )
    assert "Stopped 1 stopped with an error Ada 1 ran out of time Alan" in text


def answer(number: int, text: str, points: float | None = None) -> Answer:
    return Answer("ex3", str(number), 1, "**Which rank** would you ship?\nAnd why?", text, "Rank `4`.", 2, points)


def test_written_answers_side_by_side(course: Gradebook) -> None:
    """Answers stand beside the question and the model answer, those without points first, and who gave none is listed."""
    given = [answer(5, "Because.", 1.5), answer(6, ""), answer(7, "Sixteen"), answer(4, "Four"), answer(9999, "Whose?")]
    page = course_page(course, given)
    text = shown(page)
    assert "<b>Which rank</b> would you ship? And why?" in page
    assert "Rank <code>4</code>." in page
    assert "1 of 4 answers have points, 1 blank" in text
    order = [
        text.index(said)
        for said in ("Student 004 no points yet Four", "Student 007 no points yet", "9999 no points yet")
    ]
    assert order == sorted(order)
    assert order[-1] < text.index("Student 005 1.5 of 2 Because.")
    assert "Left blank: 1 student Student 006" in text


def test_a_long_answer_is_cut_with_a_word_on_where_it_is(course: Gradebook) -> None:
    """Of a huge answer the beginning is shown, and where the rest of it is."""
    page = course_page(course, [answer(1, "word " * 2000)])
    assert "shown in full in the CSV file" in page
    assert page.count("word ") < LONG_ANSWER


def test_likeness_is_no_verdict(course: Gradebook) -> None:
    """Hand-ins that are alike are listed by kind with how alike they are, as a reason to look and not a verdict."""
    ada, grace = (each.student for each in course.records[:2])
    text = shown(
        course_page(
            course, alike=[Likeness("same adapter", (ada, grace), "ex3", "All numbers agree.", "19,968 of them")]
        )
    )
    assert "This is a reason to look, and not a verdict" in text
    assert "Same adapter Student 000 , Student 001 ex3 All numbers agree. (19,968 of them)" in text
    assert "reason to look" not in shown(course_page(course))


def test_answers_that_nobody_has_read_do_not_count_as_lost() -> None:
    """Whoever has all points of the checks is among the best while the written answers wait to be read."""
    waiting = record(grade("ex3", PASSED, PERSON), name="Ada", id="1")
    text = shown(course_page(book(waiting)))
    assert text.count("90 % to 100 %: 1") == 2
    zero = replace(waiting, grades={"ex3": replace(waiting.grades["ex3"], written=0.0)})
    assert shown(course_page(book(zero))).count("30 % to 40 %: 1") == 2


def test_two_of_a_name_are_told_apart() -> None:
    """Students of the same name are shown with what the course system knows them by, and nobody else is."""
    same = [record(grade("ex3"), name="Ada", id=id) for id in ("17", "18")]
    text = shown(course_page(book(*same, record(grade("ex3"), name="Grace", id="19"))))
    assert "Ada (17)" in text
    assert "Ada (18)" in text
    assert "Grace (19)" not in text


def test_pseudonyms_stay_pseudonyms() -> None:
    """Where students are shown by pseudonyms, nothing else that is known of them is on the page."""
    hidden = Student("p-0042", "", login="lovelace", sis_id="7788", email="ada@example.org")
    page = course_page(book(Record(hidden, {"ex3": grade("ex3", *EVERY)})), [answer(1, "x")])
    assert "p-0042" in page
    assert not re.search("lovelace|7788|example", page)


def test_a_course_without_anything() -> None:
    """A report can be made of a course of nobody, and of one in which nobody has handed in anything."""
    assert "Students 0" in shown(course_page(Gradebook(TITLES, ())))
    assert "Ada missing" in shown(course_page(book(record(nothing(Status.MISSING, "ex3"), name="Ada"))))


def test_text_stays_text_in_a_browser(tmp_path: Path) -> None:
    """Whatever is in a name, a text or an answer, the opened page has the same elements as a harmless one, and asks nothing."""

    def page(text: str) -> str:
        ours = saying(text)
        answers = [Answer("ex1", text, 1, "q", text, "g", 1), Answer("ex1", text, 1, "q", "", "g", 1)]
        alike = [Likeness(text, (ours.student, ours.student), "ex1", text, text)]
        return course_page(Gradebook({name: TITLES[name] for name in ours.grades}, (ours,)), answers, alike)

    with chromium.listening() as (address, asked):
        attacked = Page(chromium.opened(page(attack(address)), tmp_path / "a"))
    assert attacked.shape == Page(chromium.opened(page("words"), tmp_path / "b")).shape
    assert asked == []
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", attacked.source)


def test_three_hundred_students_fit_a_phone(course: Gradebook, tmp_path: Path) -> None:
    """The report of a large course is no wider than a phone, folds away its names and answers, and loads nothing."""
    given = [answer(number, f"{'lora_' * 100} {number}") for number in range(STUDENTS)]
    page = course_page(course, given)
    ((width, height, _),) = chromium.measured([page], 360, tmp_path)
    assert width == 360
    assert height < 8000
    elements = Page(page)
    assert not [a for _, a in elements.elements if {"src", "action"} & a.keys()]
    assert all(a["href"].startswith("#") for a in elements.all("a"))
    levels = [int(tag[1]) for tag, _ in elements.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_grades_of_some_exercises_only() -> None:
    """Students may have grades for different exercises."""
    grades: list[Grade] = [grade("ex1", *EVERY), grade("ex3", *EVERY)]
    records = [record(each, name=each.exercise, id=each.exercise) for each in grades]
    text = shown(course_page(Gradebook({"ex1": "One", "ex3": "Three"}, tuple(records))))
    assert "ex1 3* 3 of 14, 3 undecided" in text.replace(" *", "*")
