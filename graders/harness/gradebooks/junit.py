"""JUnit XML: the gradebook as test results, for what shows those.

The elements are those that pytest writes and https://github.com/jenkinsci/xunit-plugin describes (junit-10.xsd).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from graders.harness.data.cells import number
from graders.harness.marks import Grade, Gradebook, Status, Student
from graders.harness.report import wording
from graders.harness.result import CheckResult, Outcome

_COUNTS = {"failure": "failures", "error": "errors", "skipped": "skipped"}
_WITHOUT_RESULT = {
    Status.GRADED: "error",
    Status.REFUSED: "failure",
    Status.MISSING: "failure",
    Status.EXEMPT: "skipped",
    Status.TROUBLE: "error",
}


def export(gradebook: Gradebook, when: datetime) -> bytes:
    """A test suite for each student and exercise, with a test case for each check; ``when`` is the time it is given.

    A `failure` lost points. An `error` is a grader's fault, whose points are undecided, or trouble with the machine.
    `skipped` is what a person marks, does not count, or was not reached and cost nothing. A suite without checks has one
    case, the hand-in. Points are properties of suites and cases: `score`, which is missing where there is none or some are
    undecided, and `max_score`. Characters
    that XML cannot hold are made visible.
    """
    root = Element("testsuites", name="gradebook")
    for record in gradebook.records:
        for name in gradebook.exercises:
            root.append(_suite(record.student, record.grades[name], when))
    for counted in ("tests", *_COUNTS.values()):
        root.set(counted, str(sum(int(suite.get(counted, "0")) for suite in root)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _suite(student: Student, grade: Grade, when: datetime) -> Element:
    name = f"{grade.exercise}: {wording.name(student)} ({student.id})"
    seconds = f"{grade.result.run['seconds'] if grade.result else 0:.3f}"
    stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = Element("testsuite", name=_text(name), time=seconds, timestamp=stamp)
    _properties(suite, grade.booked, grade.of)
    cases = list(_cases(f"{grade.exercise}.{student.id}", grade))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    for kind, counted in _COUNTS.items():
        suite.set(counted, str(sum(case.find(kind) is not None for case in cases)))
    return suite


def _cases(group: str, grade: Grade) -> Iterator[Element]:
    if grade.result is None:
        case = _case(group, "Hand-in", grade.booked, grade.of)
        message = " ".join(filter(None, (wording.STATUSES[grade.status][1], grade.note)))
        SubElement(case, _WITHOUT_RESULT[grade.status], message=_text(message))
        yield case
        return
    for check in grade.result.checks:
        case = _case(group, check.title, None if check.undecided else check.score, check.worth)
        facts = "\n".join(f"{label}: {text}" for label, text in wording.facts(check))
        if kind := _kind(check):
            end = SubElement(case, kind, message=_text(check.found), type=check.outcome.value)
            end.text = _text(facts)
        elif facts:
            SubElement(case, "system-out").text = _text(facts)
        yield case


def _case(group: str, name: str, score: float | None, of: float) -> Element:
    case = Element("testcase", classname=_text(group), name=_text(name), time="0.000")
    _properties(case, score, of)
    return case


def _kind(check: CheckResult) -> str:
    """How a test case ends, for a check; nothing if it passed."""
    if check.outcome is Outcome.GRADER_FAULT:
        return "error"
    if check.outcome is Outcome.AWAITING_REVIEW:
        return "skipped"
    if check.score < check.max_score or check.outcome is Outcome.FAILED:
        return "failure"
    return "skipped" if check.outcome is Outcome.NOT_REACHED else ""


def _properties(element: Element, score: float | None, of: float) -> None:
    properties = SubElement(element, "properties")
    if score is not None:
        SubElement(properties, "property", name="score", value=number(score))
    SubElement(properties, "property", name="max_score", value=number(of))


def _text(text: str) -> str:
    return wording.visible(text, keep="\n\t" + wording.JOINERS)
