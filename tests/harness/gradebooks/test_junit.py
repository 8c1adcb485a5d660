"""The gradebook as JUnit XML."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from graders.harness.gradebooks.junit import export
from graders.harness.marks import Gradebook, Student
from graders.harness.result import Outcome
from tests.harness.gradebooks.courses import ADA, HOSTILE, book, check, course, grade, record, result

WHEN = datetime(2026, 5, 3, 16, 5, tzinfo=timezone(timedelta(hours=2)))
COUNTS = {"tests", "failures", "errors", "skipped"}
SCHEMA = {
    "testsuites": ({"name", *COUNTS}, ["testsuite*"]),
    "testsuite": ({"name", "time", "timestamp", *COUNTS}, ["properties?", "testcase*"]),
    "properties": (set(), ["property*"]),
    "property": ({"name", "value"}, []),
    "testcase": ({"classname", "name", "time"}, ["properties?", "failure?", "error?", "skipped?", "system-out?"]),
    "failure": ({"message"}, []),
    "error": ({"message"}, []),
    "skipped": ({"message"}, []),
    "system-out": (set(), []),
}
"""The attributes that an element has, `type` aside, and its children in their order."""


def valid(element: Element) -> Iterator[Element]:
    """The elements of a document that follows the schema."""
    attributes, children = SCHEMA[element.tag]
    assert element.attrib.keys() - {"type"} == attributes
    names = [child.removesuffix("*").removesuffix("?") for child in children]
    order = [names.index(child.tag) for child in element]
    assert order == sorted(order)
    for name in names:
        assert f"{name}*" in children or len(element.findall(name)) <= 1
    assert children == [] or not (element.text or "").strip()
    for number in COUNTS & element.attrib.keys():
        assert int(element.attrib[number]) >= 0
    yield element
    for child in element:
        yield from valid(child)


def parsed(gradebook: Gradebook) -> Element:
    root = ElementTree.fromstring(export(gradebook, WHEN))
    for element in valid(root):
        if element.attrib.keys() >= COUNTS:
            kinds = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
            assert {name: int(element.attrib[name]) for name in COUNTS} == {
                name: sum(1 for _ in element.iter(kind)) for name, kind in kinds.items()
            }
    return root


def ends(suite: Element) -> list[str]:
    """How each test case ended, by the element that says so."""
    kinds = ("failure", "error", "skipped")
    return [next((kind for kind in kinds if case.find(kind) is not None), "passed") for case in suite.iter("testcase")]


def points(element: Element) -> dict[str, str]:
    return {one.attrib["name"]: one.attrib["value"] for one in element.findall("properties/property")}


def test_lost_points_are_failures_and_faults_are_errors() -> None:
    """A check that lost points failed, one whose grader broke is an error, and what a person marks is skipped."""
    checks = (
        check(Outcome.PASSED, 2, 2, found="all of them"),
        check(Outcome.FAILED, 1, 3, found="half of them", expected="more"),
        check(Outcome.NOT_REACHED, 0, 1, found="needs what failed"),
        check(Outcome.NOT_REACHED, found="says no more"),
        check(Outcome.AWAITING_REVIEW),
        check(Outcome.GRADER_FAULT, 4, 4, found="a bug"),
    )
    root = parsed(book(record(ADA, grade("ex1", result=result(0, 0, *checks)))))
    assert ends(root)[1:] == ["passed", "failure", "failure", "skipped", "skipped", "error"]
    [suite] = root
    assert suite.attrib["name"] == "ex1: Ada Lovelace (101)"
    assert (suite.attrib["time"], suite.attrib["timestamp"]) == ("61.240", "2026-05-03T14:05:00")
    assert points(suite) == {"score": "8.5", "max_score": "12"}
    passed, failed = suite.findall("testcase")[1:3]
    assert passed.findtext("system-out") == "found: all of them"
    assert points(failed) == {"score": "1", "max_score": "3"}
    assert failed.attrib["classname"] == "ex1.101"
    assert failed.find("failure").attrib == {"message": "half of them", "type": "failed"}  # type: ignore[union-attr]
    assert failed.findtext("failure") == "found: half of them\nexpected: more"


def test_hand_ins_without_a_result() -> None:
    """Nothing handed in and nothing to grade lost the points, trouble is an error without a score, exempt is skipped."""
    found = {suite.attrib["name"]: (ends(suite), points(suite)) for suite in parsed(course())}
    assert found["ex1: Bob Ross (102)"] == (["error"], {"max_score": "12"})
    assert found["ex1: Cy Twombly (103)"] == (["failure"], {"score": "0", "max_score": "12"})
    assert found["ex1: Dee Dee (104)"] == (["failure"], {"score": "0", "max_score": "12"})
    assert found["ex1: Eve Arden (105)"] == (["skipped"], {"max_score": "12"})
    assert "It is no notebook." in export(course(), WHEN).decode()


@pytest.mark.parametrize("text", [*HOSTILE, "".join(map(chr, range(0x20))), "\ufffe\uffff\udfff]]>&<!--"])
def test_text_cannot_break_the_document(text: str) -> None:
    """Whatever a name or a hand-in is made of, the document is XML, and says it visibly in the same place."""
    checks = [check(outcome, 0, 1, found=text, title=text) for outcome in Outcome]
    root = parsed(book(record(Student(text, text), grade("ex1", result=result(1, 1, *checks), note=text))))
    assert ends(root) == ["passed", "failure", "failure", "failure", "skipped", "error"]
    for element in root.iter("failure"):
        assert element.text is not None
        assert element.text.startswith("found: ")
        assert all(character.isprintable() or character in "\n\t\u200d" for character in element.text)
