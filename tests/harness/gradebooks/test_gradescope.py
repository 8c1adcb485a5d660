"""Results for Gradescope."""

import json
from typing import Any

import pytest

from graders.harness.gradebooks.gradescope import refused, results, to_json, trouble
from graders.harness.result import Outcome, Result
from tests.harness.gradebooks.courses import RUN, check, result
from tests.harness.report.records import PERSON

FIELDS = {
    "score": float | int,
    "execution_time": float | int,
    "output": str,
    "output_format": str,
    "test_output_format": str,
    "test_name_format": str,
    "visibility": str,
    "stdout_visibility": str,
    "tests": list,
}
TEST_FIELDS = {"name": str, "output": str, "score": float | int, "max_score": float | int, "status": str}


def gradescope(document: dict[str, Any]) -> dict[str, Any]:
    """What Gradescope takes from results.json; the student's total is what it shows if nothing is hidden."""
    read = json.loads(to_json(document))
    for fields, said in ((FIELDS, read), *((TEST_FIELDS, test) for test in read.get("tests", []))):
        assert all(isinstance(value, fields[name]) for name, value in said.items())  # type: ignore[arg-type]
    assert read["visibility"] in ("visible", "after_due_date", "after_published")
    assert not [test for test in read.get("tests", []) if "visibility" in test]
    return read


def test_the_score_is_the_sum_of_what_is_shown() -> None:
    """The total is what the tests add up to, each of which says what was found and why it matters, and none is hidden."""
    lost = check(Outcome.FAILED, 1, 3, title="A rank", found="It is 4.", expected="16", why="It matters.", hint="Look.")
    read = gradescope(results(result(5, 5, lost)))
    assert read["score"] == 6
    assert read["score"] == sum(test["score"] for test in read["tests"])
    assert [test["status"] for test in read["tests"]] == ["passed", "failed"]
    assert read["tests"][1]["name"] == "A rank"
    for said in ("It is 4.", "16", "It matters.", "Look."):
        assert said in read["tests"][1]["output"]
    assert read["execution_time"] == 61
    assert "ran 61 s on cpu" in read["output"]


def test_practice_has_no_score() -> None:
    """What waits for the instructor's run has no score that Gradescope could take for final."""
    read = gradescope(results(result(5, 5, check(Outcome.AWAITING_REVIEW))))
    assert "score" not in read
    assert not [test for test in read["tests"] if "score" in test]


def test_written_answers_are_part_of_it_once_they_are_read() -> None:
    """Before a person read them they are announced, and cost nothing; then they are a test of their own."""
    graded = result(5, 5, PERSON)
    before = gradescope(results(graded, None, 4))
    assert before["score"] == 5
    assert "read by a person" in before["output"]
    assert "score" not in before["tests"][1]
    after = gradescope(results(graded, 2.5, 4))
    assert after["score"] == 7.5 == sum(test.get("score", 0) for test in after["tests"])
    assert "read by a person" not in after["output"]


def test_undecided_points_are_no_score() -> None:
    """Where a grader broke there is no number that Gradescope could take for final, and the student reads why."""
    read = gradescope(results(result(5, 5, check(Outcome.GRADER_FAULT, 0, 0, found="a bug", undecided=4.0)), 2.0, 3.0))
    assert "score" not in read
    assert not any("score" in test or "status" in test for test in read["tests"])
    assert read["tests"][-1]["name"].endswith("(4 undecided)")
    assert "4 points are undecided" in read["output"]
    assert "until your instructor has looked" in read["output"]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "**bold** ![x](http://evil)",
        "\x1b[2Jgone\x07\x00",
        "\u202eevil",
        "half \ud800",
        "]]>",
    ],
)
def test_text_of_a_hand_in_is_only_text(text: str) -> None:
    """Whatever a hand-in prints or raises is shown as text, with control characters visible, in every field."""
    error = {"ename": text, "evalue": text, "line": text}
    checks = (check(Outcome.FAILED, 0, 1, title=text, found=text, hint=text),)
    document = results(Result("ex1", RUN | {"ended": "cell_error", "cell": 2, "error": error}, checks))
    for read in (gradescope(document), gradescope(refused(text))):
        assert [value for name, value in read.items() if name.endswith("format")] == ["text"] * 3
        everything = [
            read["output"],
            *(text for test in read.get("tests", []) for text in (test["name"], test["output"])),
        ]
        for said in everything:
            assert all(one.isprintable() or one == "\n" for one in said)
            assert any(word in said for word in ("alert", "bold", "gone", "evil", "half", "]]>"))


def test_paths_of_the_machine_are_not_told() -> None:
    """A student reads no path of the machine that graded."""
    read = gradescope(
        results(result(1, 1, check(Outcome.FAILED, 0, 1, found="No /autograder/source/secret/answers.json")))
    )
    assert "secret" not in json.dumps(read)


def test_a_refused_hand_in_has_no_points_and_trouble_has_no_score() -> None:
    """What cannot be graded for the hand-in's sake is 0, with the reason; for the machine's sake it is no score at all."""
    read = gradescope(refused("There is no notebook.\nHand one in."))
    assert read["score"] == 0
    assert "There is no notebook." in read["output"]
    read = gradescope(trouble())
    assert "score" not in read
    assert "Your instructor will look at it" in read["output"]


def test_everything_can_wait_for_the_due_date() -> None:
    """All of it can be shown later, but never in parts."""
    assert gradescope(results(result(), visibility="after_due_date"))["visibility"] == "after_due_date"
