"""A student's feedback in Markdown."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from graders.harness.marks import Record, Status
from graders.harness.report import markdown, wording
from graders.harness.report.markdown import student_markdown
from graders.harness.result import CheckResult, Outcome
from tests.harness.report.records import ERROR, EVERY, FAILED, PASSED, PERSON, TITLES, grade, nothing, record, saying

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HARMLESS = {"text", "code_inline", "hardbreak", "softbreak", "strong_open", "strong_close"}
ATTACK = (
    "# Score: 99 <script>alert(1)</script> <img src=x onerror=alert(1)> ![a](https://evil.example/a.png) "
    "[b](javascript:alert(1)) <https://evil.example> https://evil.example/x?y=1 www.evil.example evil.example "
    "ada@evil.example @everyone [c]: https://evil.example **bold** _it_ ~~gone~~ &lt;b&gt; | cell | $x$ "
    "``` ~~~ -- === `` ` \\ \\` *** - 1. \u202e\u2066\x00\x1b[31m\ud800\u2028"
)
LINES = "\n".join(
    [
        "",
        "# heading",
        "- item",
        "1. item",
        "> quote",
        "---",
        "===",
        "```",
        "~~~",
        "    code",
        "<div>",
        "| a |",
        "[a]: /b",
        ": x",
    ]
)


def tokens(document: str) -> list[Token]:
    """Everything that a reader of Markdown makes of a document, blocks and what is in their lines."""
    return [token for block in READER.parse(document) for token in (block, *(block.children or ()))]


def blocks(document: str) -> list[tuple[str, str]]:
    return [(token.type, token.tag) for token in READER.parse(document)]


def words(document: str) -> str:
    """The text that is shown, without what makes its lines."""
    shown = [
        token.content for token in tokens(document) if token.type in ("text", "code_inline", "fence", "text_special")
    ]
    return " ".join(" ".join(shown).split())


def test_says_what_the_terminal_says() -> None:
    """Checks that failed are there in full, the others in a line that says how they ended, and so is the score."""
    said = student_markdown(record(grade("ex1", *EVERY)), TITLES)
    assert "## Inspect LoRA target layers: 3 of 11, 3 points undecided so far" in said
    assert "- ✗ **`lora_fraction` compares each adapter with the U-Net** (1/4): failed" in said
    assert "**Found:** rank 4: 0.0462844. That is a percentage.  \n      rank 16: right" in said
    for fact in (FAILED.expected, FAILED.why, FAILED.hint, "percent-not-fraction: a percentage was given"):
        assert fact in words(said)
    assert "- ✓ `unet_param_count` counts the parameters (2/2): passed" in said
    assert "- – Four times the rank (0/1): not checked\n    - Not checked, because" in said
    assert "Written answers: awaiting review, up to 4" in said
    assert "(4 of" not in said


def test_written_points_penalty_and_time() -> None:
    """What a person gave and what was lost for being late are told apart from the checks."""
    said = student_markdown(
        record(grade("ex1", PASSED, PERSON, written=3, penalty=1, late=True, file="x/ex1.ipynb")), TITLES
    )
    assert "**4 of 6**" in said
    assert "Checks: 2 of 2; Written answers: 3 of 4; Late: −1." in said
    assert "Handed in as `ex1.ipynb`, late." in said
    assert "- ✓ The written answers (3/4): read" in said


@pytest.mark.parametrize("status", [Status.REFUSED, Status.MISSING, Status.EXEMPT, Status.TROUBLE])
def test_says_why_there_is_no_result(status: Status) -> None:
    """An exercise without a result says why, and only what its student may know."""
    said = student_markdown(record(nothing(status, note="A note.")), TITLES)
    assert wording.STATUSES[status][1] in said
    assert ("A note." in said) == (status in (Status.REFUSED, Status.MISSING))


def test_how_a_run_ended() -> None:
    """A run that stopped is announced with its error as code and what to do, without the machine's folders."""
    said = student_markdown(record(grade(run={"ended": "cell_error", "cell": 4, "error": ERROR})), TITLES)
    assert "**The notebook stopped with an error in code cell 4" in said
    assert "```text\nunet = load(MODEL)\nOSError: no file in …/" in said
    assert "Restart the kernel" in said
    assert "/srv" not in said


def test_text_stays_text() -> None:
    """Whatever is in a name, a text or a file's name, the document has the blocks of a harmless one, no links and no HTML."""
    said = student_markdown(saying(ATTACK), TITLES)
    assert blocks(said) == blocks(student_markdown(saying("words"), TITLES))
    kinds = {token.type for token in tokens(said)}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "em_open", "s_open"}
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", said)
    assert words(said).count("<script>alert(1)</script>") >= 20


def test_nothing_is_made_a_link_by_itself() -> None:
    """What a renderer would turn into a link or a mention on its own is code wherever it stands."""
    for token in tokens(student_markdown(saying(ATTACK), TITLES)):
        if token.type == "text":
            assert not re.search(r"://|www\.|@|evil\.", token.content), token.content


def test_lines_stay_lines() -> None:
    """What would begin a heading, a list, a quotation or code at the start of a line begins nothing."""
    check = CheckResult("a", "title", Outcome.FAILED, 0, 1, found=LINES.strip(), hint="h")
    plain = CheckResult("a", "title", Outcome.FAILED, 0, 1, found="\n".join(["x"] * 13), hint="h")
    said, harmless = (student_markdown(record(grade("ex1", c)), TITLES) for c in (check, plain))
    assert blocks(said) == blocks(harmless)
    assert [t.type for t in tokens(said)].count("hardbreak") == 12


def test_a_fence_is_longer_than_any_in_the_text() -> None:
    """An error that holds fences of its own stays in its block of code."""
    error = {"ename": "E", "evalue": "`````\n# heading\n~~~~\n```", "line": "```"}
    said = student_markdown(record(grade(run={"ended": "cell_error", "cell": 1, "error": error})), TITLES)
    (block,) = [token.content for token in READER.parse(said) if token.type == "fence"]
    assert block == "```\nE: `````\n# heading\n~~~~\n```\n"


@given(st.text(st.characters() | st.sampled_from("`*_[]()<>!#&\\|~-+=.:@/ \n1aw"), max_size=60))
@example("``a`b``.c`d")
@example("\\`a`b")
@example("`a``b`c.de")
def test_any_text(text: str) -> None:
    """Any text is words and code on one line, and all of it is there but the backticks that make code of it."""
    made = markdown.text(text)
    shown = READER.parse(f"- **Found:** x {made}\n- {made or 'x'}")
    assert [token.type for token in shown if token.level == 0] == ["bullet_list_open", "bullet_list_close"]
    assert {child.type for token in shown for child in token.children or ()} <= HARMLESS | {"text_special"}
    first = next(token for token in shown if token.type == "inline")
    content = "".join(child.content for child in first.children or () if child.type not in ("softbreak", "hardbreak"))
    bare = re.sub(r"[`\s]", "", wording.visible(text))
    assert re.sub(r"[`\s]", "", content) == f"Found:x{bare}"


def test_no_name_but_the_students() -> None:
    """A student's feedback names no other student of the course."""
    course: list[Record] = [record(grade(), name=name, id=name) for name in ("Ada Ypsilon", "Grace Omega")]
    for mine, other in (course, course[::-1]):
        said = student_markdown(mine, TITLES)
        assert f"# Feedback for {mine.student.name}" in said
        assert other.student.name not in said
