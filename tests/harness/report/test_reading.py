"""In which order a student reads what the checks said."""

from dataclasses import replace

from graders.harness.report.html import student_page
from graders.harness.report.markdown import student_markdown
from graders.harness.report.reading import reading, together
from graders.harness.result import Outcome, Result
from tests.harness.report.records import ERROR, EVERY, FAILED, NOT_REACHED, PASSED, RUN, TITLES, Page, grade, record
from tests.harness.report.test_terminal import shown

OTHER = replace(FAILED, id="f", title="The other thing")
ALSO = replace(NOT_REACHED, id="g", title="Sixteen times the rank", max_score=3)
MIXED = (PASSED, *EVERY[2:], OTHER, FAILED, ALSO)


def in_order(text: str, *said: str) -> bool:
    places = [text.index(part) for part in said]
    return places == sorted(places)


def test_one_thing_first() -> None:
    """First stands what to look at next, one thing, then how many checks hold, then what is open, and what holds last."""
    order = ("To look at next: The other thing", "1 of 6 checks hold.", "compares each adapter")
    last = "counts the parameters"
    page = Page(student_page(record(grade("ex1", *MIXED)), TITLES))
    assert in_order(page.text, *order, last)
    assert 'href="#ex1-f"' in student_page(record(grade("ex1", *MIXED)), TITLES)
    assert in_order(shown(*MIXED), *order, last)
    assert in_order(student_markdown(record(grade("ex1", *MIXED)), TITLES), *order, last)
    for text in (page.text, shown(*MIXED)):
        assert text.count("To look at next") == 1


def test_one_cause_once() -> None:
    """What was not checked for one reason is one entry, with the points of all of it; asked for, each is named."""
    assert shown(*MIXED).count("Not checked, because") == 1
    assert "– 2 checks" in shown(*MIXED)
    assert "0/4" in shown(*MIXED)
    assert ALSO.title not in shown(*MIXED)
    assert ALSO.title in shown(*MIXED, verbose=True)
    for said in (student_page, student_markdown):
        text = said(record(grade("ex1", *MIXED)), TITLES)
        assert ALSO.title in text
        assert "0/4" in text


def test_after_a_crash() -> None:
    """A notebook that stopped has that to be looked at, and not each thing that it did not leave."""
    left = replace(FAILED, id="h", expected="", found="`loss` has no value.", misconception=None)
    result = Result("ex1", RUN | {"ended": "cell_error", "cell": 4, "error": ERROR}, (FAILED, left, PASSED))
    read = reading(result)
    assert read.next is None
    assert read.open == (FAILED,)
    assert [*read.unchecked.values()] == [(left,)]
    assert "has no value" not in shown(*result.checks, ended="cell_error", cell=4, error=ERROR)
    assert reading(replace(result, run=RUN)).next == FAILED


def test_all_of_it_holds() -> None:
    """Where nothing is open nothing is said to be looked at."""
    text = shown(PASSED, replace(PASSED, id="i"))
    assert "All 2 checks hold." in text
    assert "next" not in text
    assert "1 of 2 checks hold." in shown(PASSED, replace(PASSED, id="i", outcome=Outcome.FAILED))


def test_points_of_several() -> None:
    """Points are added as they are written: without what floating-point numbers make of tenths."""
    assert together([replace(PASSED, score=0.1, max_score=0.1), replace(PASSED, score=0.2, max_score=0.2)]) == "0.3/0.3"
    assert together([replace(PASSED, score=0, max_score=0)]) == ""
