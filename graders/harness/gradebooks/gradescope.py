"""Gradescope: what an autograder leaves for it in ``results.json``.

The fields are in https://gradescope-autograders.readthedocs.io/en/latest/specs/. Nothing in them is ever hidden: a single
hidden test would hide a student's total. All text is ``text``, which Gradescope shows as it is: in ``html``, ``md`` and
``ansi`` a hand-in could write for its reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from graders.harness.marks import Status
from graders.harness.report import wording
from graders.harness.result import CheckResult, Result

Visibility = Literal["visible", "after_due_date", "after_published"]


def results(
    result: Result, written: float | None = None, max_written: float = 0.0, visibility: Visibility = "visible"
) -> dict[str, Any]:
    """A graded hand-in. ``written`` of ``max_written`` are the points for written answers, None before a person read them.

    ``visibility`` is that of all of it at once. Where points are undecided there is no score that Gradescope could take for
    final, neither of a test nor of all: the points that are decided are written beside the names.
    """
    ending = wording.ending(result.run)
    said = [ending.sentence, *ending.error, ending.advice, *ending.remarks]
    tests = [_test(check, scored=result.final) for check in result.checks]
    seconds = {"execution_time": round(result.run["seconds"])}
    if not result.final:
        said += [wording.undecided(result), *([wording.GRADER_FAULT] if result.faulty else [])]
        return _document("\n".join(filter(None, said)), visibility) | {"tests": tests} | seconds
    if max_written and written is not None:
        tests.append({"name": "Written answers", "score": written, "max_score": max_written})
    elif max_written or any(check.written for check in result.checks):
        said.append(wording.WRITTEN_ANSWERS)
    score = round(result.score + (written or 0.0), 2)
    return _document("\n".join(filter(None, said)), visibility) | {"score": score, "tests": tests} | seconds


def refused(sentence: str) -> dict[str, Any]:
    """A hand-in in which nothing can be graded, and why: no points."""
    return _document(f"{wording.STATUSES[Status.REFUSED][1]}\n{sentence}") | {"score": 0.0}


def trouble() -> dict[str, Any]:
    """A hand-in that could not be graded for reasons of the machine: it has no score, which is not 0."""
    return _document(wording.STATUSES[Status.TROUBLE][1])


def to_json(document: Mapping[str, Any]) -> bytes:
    """The contents of ``results.json``."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _document(output: str, visibility: Visibility = "visible") -> dict[str, Any]:
    formats = dict.fromkeys(("output_format", "test_output_format", "test_name_format"), "text")
    # What the graders print is for the instructor, who finds it with every submission.
    return {"output": wording.for_student(output), "visibility": visibility, "stdout_visibility": "hidden"} | formats


def _test(check: CheckResult, scored: bool) -> dict[str, Any]:
    output = "\n\n".join(f"{label}: {wording.for_student(text)}" for label, text in wording.facts(check))
    test: dict[str, Any] = {"name": wording.for_student(check.title), "output": output}
    if not scored:
        worth = wording.points(check)
        test["name"] += f" ({worth})" if worth else ""
    elif check.max_score:
        test |= {"score": check.score, "max_score": check.max_score}
        test["status"] = "passed" if check.score == check.max_score else "failed"
    return test
