"""A student's feedback in Markdown, for a mail or a comment in a course system."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from graders.harness.marks import Grade, Record
from graders.harness.report import wording
from graders.harness.report.reading import reading, together
from graders.harness.result import CheckResult, Outcome

# An underscore between letters is no markup, and W_Q is easier to read than W\\_Q.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#&!|~$^=]|(?<![^\W_])_|_(?![^\W_])")
_BREAK = r"\s`'\"(),;<>"
_WORD = rf"(?:\(\)|[^{_BREAK}])*"
# It begins where a word does, so that a long word is looked through once and not from each of its letters.
_LINK = re.compile(rf"(?i)(?<![^{_BREAK}]){_WORD}(?:://|www\.|@|mailto:|[\w-]\.[^\W\d_]{{2}}){_WORD}(?<![.:!?…])")
"""What a renderer may turn into a link or a mention by itself: addresses of pages, of mail and of people."""
_LABELS = {"found": "Found", "expected": "Expected", "known as": "Known as", "why": "Why", "next": "Next"}


def student_markdown(record: Record, titles: Mapping[str, str]) -> str:
    """The feedback of one student over all exercises; ``titles`` are those of the gradebook."""
    return "\n".join(_document(record, titles)) + "\n"


def text(said: str) -> str:
    """Text of any kind on one line, in which nothing is markup: what stands between backticks is code, as links are."""
    line = " ".join(wording.visible(said).split())
    parts = wording.CODE.split(line)
    made = "".join(code(part) if i % 2 else _without_links(part) for i, part in enumerate(parts))
    return re.sub(r"^(\d*)([-+:.)])", r"\1\\\2", made)  # which would begin a list


def _without_links(part: str) -> str:
    start, made = 0, []
    for match in _LINK.finditer(part):
        made += [_SPECIAL.sub(r"\\\g<0>", part[start : match.start()]), code(match[0])]
        start = match.end()
    return "".join(made) + _SPECIAL.sub(r"\\\g<0>", part[start:])


def code(said: str) -> str:
    """A span of code that ends where the text ends."""
    fence = "`" * (1 + max(map(len, re.findall("`+", said)), default=0))
    # A space that touches a fence is taken for its own; one more keeps backticks apart from it.
    padding = " " if said.startswith(("`", " ")) or said.endswith(("`", " ")) else ""
    return f"{fence}{padding}{said}{padding}{fence}"


def block(said: str) -> str:
    """A block of code, with a fence longer than any in the text."""
    said = wording.visible(said)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", said)), default=0))
    return f"{fence}text\n{said}\n{fence}"


def _document(record: Record, titles: Mapping[str, str]) -> Iterator[str]:
    so_far = "" if all(grade.final for grade in record.grades.values()) else " so far"
    yield f"# Feedback for {text(wording.name(record.student))}"
    yield ""
    yield f"**{wording.total(record)}{so_far if record.score is not None else ''}**"
    yield ""
    yield "| Exercise | What became of it | Points |"
    yield "| --- | --- | ---: |"
    for grade in record.grades.values():
        yield f"| {text(titles[grade.exercise])} | {wording.standing(grade)} | {wording.total(grade)} |"
    for grade in record.grades.values():
        yield ""
        yield from _exercise(grade, titles[grade.exercise])


def _exercise(grade: Grade, title: str) -> Iterator[str]:
    so_far = "" if grade.final or grade.score is None else " so far"
    yield f"## {text(title)}: {wording.total(grade)}{so_far}"
    yield ""
    if parts := "; ".join(f"{label}: {worth}" for label, worth in wording.parts(grade)):
        yield f"{parts}."
        yield ""
    for remark in wording.remarks(grade):
        yield _said(remark)
        yield ""
    if grade.result is None:
        return
    ending = wording.ending(grade.result.run)
    yield f"**{text(ending.sentence)}**" if ending.advice else text(ending.sentence)
    yield ""
    if ending.error:
        yield block(wording.for_student("\n".join(ending.error)))
        yield ""
    if ending.advice:
        yield text(ending.advice)
    for remark in filter(None, (*ending.remarks, ending.memory)):
        yield ""
        yield _said(remark)
        yield ""
    read = reading(grade.result)
    if read.next:
        yield f"**To look at next: {_said(read.next.title)}**"
        yield ""
    if read.standing:
        yield read.standing
        yield ""
    for check in read.open:
        yield from _check(check, grade)
    for cause, checks in read.unchecked.items():
        worth = together(checks)
        titles = "; ".join(_said(check.title) for check in checks)
        yield f"- – {titles}{f' ({worth})' if worth else ''}: not checked"
        yield f"    - {_lines(cause)}"
    for check in read.holding:
        yield from _check(check, grade)


def _check(check: CheckResult, grade: Grade) -> Iterator[str]:
    sign, word = wording.mark(check)
    points, found = wording.points(check), check.found
    if check.written and grade.written is not None:
        sign, word, points = "✓", "read", f"{grade.written:g}/{grade.max_written:g}" if grade.max_written else ""
        found = "Your instructor has read them."
    worth = f" ({points})" if points else ""
    if check.outcome in (Outcome.FAILED, Outcome.GRADER_FAULT):
        yield f"- {sign} **{_said(check.title)}**{worth}: {word}"
        for label, said in wording.facts(check):
            yield f"    - **{_LABELS[label]}:** {_lines(said)}"
    else:
        yield f"- {sign} {_said(check.title)}{worth}: {word}"
        if found and check.outcome is not Outcome.PASSED:
            yield f"    - {_lines(found)}"


def _lines(said: str) -> str:
    """Text in a list in a list; two spaces at its end keep a line a line."""
    lines = wording.for_student(said).split("\n")
    return "  \n      ".join(text(line) for line in lines if line.strip())


def _said(said: str) -> str:
    return text(wording.for_student(said))
