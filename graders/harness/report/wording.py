"""What all feedback says in the same words, whatever it is written to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graders.harness import lessons
from graders.harness.marks import Grade, Gradebook, Record, Status, Student
from graders.harness.report.causes import advice_for
from graders.harness.result import CheckResult, Outcome, Result

MARKS = {
    Outcome.PASSED: ("✓", "passed"),
    Outcome.FAILED: ("✗", "failed"),
    Outcome.NOT_REACHED: ("–", "not checked"),
    Outcome.AWAITING_REVIEW: ("…", "awaiting review"),
    Outcome.GRADER_FAULT: ("!", "undecided"),
}
"""A sign and a word for how a check ended."""

ENDINGS = {
    "cell_error": (
        "stopped with an error",
        "Restart the kernel and run all cells: what stops there stopped here, too.",
    ),
    "timeout": (
        "ran out of time",
        "Look for a loop that does not end, and for more steps or pictures than the exercise asks for.",
    ),
    "out_of_memory": (
        "ran out of memory",
        "Keep one model at a time, delete what you are done with, and generate or train in smaller batches.",
    ),
    "kernel_died": (
        "ended because its process died",
        "Take out quit(), exit() and whatever else ends Python. If there is nothing of the kind, a library crashed: "
        "see which call of the cell it was.",
    ),
    "not_started": ("was not run", "Nothing of it was run, so only what needs no run is graded."),
}
"""How a run that did not complete ended, and what to do about it."""

STATUSES = {
    Status.GRADED: ("graded", ""),
    Status.REFUSED: ("could not be graded", "What you handed in could not be graded, and so it has no points."),
    Status.MISSING: ("not handed in", "Nothing was handed in, and so there are no points."),
    Status.EXEMPT: ("does not count", "This exercise does not count for you."),
    Status.TROUBLE: (
        "awaits your instructor",
        "It could not be graded yet, for reasons of the machine and not of your hand-in. Your instructor will look at it. "
        "Until then it has no score, which is not 0.",
    ),
}
"""What a student is told of an exercise, in few words and, where there is no result, in full."""

SMALL_GPU = 15e9
"""Bytes: what programs get of the 16 GB of the GPU (a T4) that Colab and Kaggle lend for nothing."""

WRITTEN_ANSWERS = "The written answers are read by a person and are not part of this score."
PRACTISED = "none here; your instructor's run decides"
"""The points of what can only be practised."""
GRADER_FAULT = "The grader failed at a check. Its points are undecided until your instructor has looked at it."
CODE = re.compile(r"`([^`\n]+)`")
"""What is code in a text of ours."""

JOINERS = "\u200c\u200d"
"""They are invisible, and part of how Persian and several Indian languages are spelt; and of emoji."""
_LABELS = ("found", "expected", "known as", "why", "next")
_PATH = re.compile(
    # In quotation marks a path may have spaces in it.
    r"(?<=['\"`])(?:file://|[A-Za-z]:)?(?:[\\/]+[^\\/'\"`\n]+){2,}(?=['\"`])"
    r"|(?:(?<![\w./~…])(?:file://)?/(?!/)|(?<![\w])[A-Za-z]:[\\/]+)(?:[^\\/\s'\"`<>|,;:)\]}]+[\\/]+)+"
    r"[^\\/\s'\"`<>|,;:)\]}]*"
)
_LAST_PART = 60
"""Characters that are kept of the last part of a path: caches name files by whole paths."""


def visible(text: str, keep: str = "\n") -> str:
    """Text with every character made visible that could steer what shows it, but those to ``keep``."""
    return "".join(c if c.isprintable() or c in keep or not _steers(c) else _escape(ord(c)) for c in text)


def _steers(character: str) -> bool:
    """Control characters, marks of direction, halves of characters, and line breaks that are not seen as such."""
    category = unicodedata.category(character)
    return category.startswith("C") or category in ("Zl", "Zp")


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters of the text; what is cut says so."""
    return text if len(text) <= limit else f"{text[:limit]}… and more"


def without_paths(text: str) -> str:
    """Text in which only the last part of every absolute path is left: the others are those of the grading machine."""
    return _PATH.sub(lambda match: f"…/{_last_part(match[0])}", text)


def _last_part(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1][-_LAST_PART:]


def for_student(text: str, limit: int = 1500) -> str:
    """Text that may have come from a hand-in, as its student sees it: visible, not without end, and without paths."""
    return cut(visible(without_paths(text[: 4 * limit])), limit)


def name(student: Student) -> str:
    """What to call a student, on one line."""
    return visible(cut(" ".join(student.shown.split()), 200), keep=JOINERS)


def mark(check: CheckResult) -> tuple[str, str]:
    """A sign and a word for how a check ended."""
    if check.practised and check.outcome is Outcome.AWAITING_REVIEW:
        return MARKS[check.outcome][0], "measured, your instructor's run decides"
    return MARKS[check.outcome]


def points(check: CheckResult) -> str:
    """Such as 3/7, with what is undecided; for a check that has no points here, that it is practice."""
    if check.practised:
        return "practice"
    decided = [f"{check.score:g}/{check.max_score:g}"] if check.max_score else []
    return ", ".join([*decided, f"{check.undecided:g} undecided"] if check.undecided else decided)


def score(result: Result) -> str:
    """The points of a hand-in, such as: 14 of 17, 3 points undecided."""
    if not result.max_score + result.undecided and not result.final:
        return PRACTISED
    return " of ".join((f"{result.score:g}", f"{result.max_score:g}")) + _open(result.undecided)


def undecided(item: Result | Grade) -> str:
    """What undecided points mean for whoever has them; "" where there are none."""
    count = f"{item.undecided:g} point{' is' if item.undecided == 1 else 's are'}"
    return f"{count} undecided: neither given nor lost until a person has looked." if item.undecided else ""


def _open(points: float) -> str:
    return f", {points:g} point{'' if points == 1 else 's'} undecided" if points else ""


def facts(check: CheckResult) -> Iterator[tuple[str, str]]:
    """What there is to say about a check, each with its label, in the order in which it is read."""
    known = check.misconception or ""
    if meaning := lessons.meant().misconceptions.get(known):
        known = f"{known}: {meaning}"
    texts = (check.found, check.expected, known, check.why, check.hint)
    return (pair for pair in zip(_LABELS, texts, strict=True) if pair[1])


@dataclass(frozen=True)
class Ending:
    """How a run ended: a sentence and, where it did not complete, its error in lines of their own and what to do.

    ``memory`` is what to know where the same notebook would not fit on a small GPU; "" where nothing is known against it.
    ``remarks`` are sentences on what the run met with besides.
    """

    sentence: str
    error: tuple[str, ...] = ()
    advice: str = ""
    memory: str = ""
    remarks: tuple[str, ...] = ()


def ending(run: Mapping[str, Any]) -> Ending:
    """How the run of a result ended."""
    remarks = tuple(run.get("remarks", ()))
    if run["ended"] == "completed":
        sentence = f"The notebook ran {run['seconds']:.0f} s on {run['device']}."
        return Ending(sentence, memory=_memory(run), remarks=remarks)
    how, advice = ENDINGS[run["ended"]]
    where = f" in {run.get('place') or 'code cell {}'.format(run['cell'])}" if run["cell"] else ""
    used = f"{run['seconds']:.0f} s, {run['peak_memory_bytes'] / (1 << 30):.1f} GiB"
    sentence = f"The notebook {how}{where} ({used}); what it had reached is graded."
    error = run.get("error")
    lines = (error["line"], f"{error['ename']}: {error['evalue']}") if error else ()
    if error and run["ended"] == "cell_error":
        advice = advice_for(error) or advice
    return Ending(sentence, tuple(filter(None, lines)), advice, _memory(run), remarks)


def _memory(run: Mapping[str, Any]) -> str:
    peak, said = run.get("peak_gpu_memory_bytes", 0), []
    if peak > SMALL_GPU:
        said.append(f"It took {peak / 1e9:.1f} GB of GPU memory; of a free GPU's 16 GB about 15 can be had.")
    return " ".join([*said, *lessons.meant().advice(run)])


def parts(grade: Grade) -> Iterator[tuple[str, str]]:
    """What the points of a graded exercise are made of, each with its label."""
    if grade.status is not Status.GRADED:
        return
    yield "Checks", score(grade.result) if grade.result else f"0 of {grade.max_score:g}"
    if grade.max_written:
        given = "awaiting review, up to" if unread(grade) else f"{grade.written or 0:g} of"
        yield "Written answers", f"{given} {grade.max_written:g}"
    if grade.penalty:
        yield "Late", f"−{grade.penalty:g}"


def unread(grade: Grade) -> bool:
    """Whether written answers of a graded hand-in wait for a person."""
    return grade.status is Status.GRADED and grade.max_written > 0 and grade.written is None


def faulty(grade: Grade) -> bool:
    """Whether a grader broke on the hand-in."""
    return grade.result is not None and grade.result.faulty


def total(item: Grade | Record) -> str:
    """The points of an exercise or of a student, of how many are decided; in words where there are none."""
    if item.score is None:
        return STATUSES[Status.EXEMPT][0] if not item.of or _exempt(item) else "no score yet"
    if not item.of:
        return PRACTISED
    return f"{item.score:g} of {item.of - item.undecided:g}{_open(item.undecided)}"


def _exempt(item: Grade | Record) -> bool:
    return isinstance(item, Grade) and item.status is Status.EXEMPT


def standing(grade: Grade) -> str:
    """What became of an exercise, in few words."""
    if grade.status is not Status.GRADED:
        return STATUSES[grade.status][0]
    if unread(grade):
        return "written answers awaiting review"
    return "final" if grade.final else "a check awaits your instructor"


def missing(gradebook: Gradebook) -> dict[str, tuple[str, ...]]:
    """Of each module that hand-ins import and that is not there, what to ask the instructor, and who imports it."""
    who: dict[str, list[str]] = {}
    for record in gradebook.records:
        for exercise, grade in record.grades.items():
            for module in grade.missing:
                who.setdefault(module, []).append(f"{name(record.student)}, {exercise}")
    return {question(module, len(names)): tuple(names) for module, names in who.items()}


def question(module: str, hand_ins: int) -> str:
    """What only the instructor knows of a module that is neither installed nor handed in."""
    said = f"`{module}`, in {hand_ins} hand-in{'' if hand_ins == 1 else 's'}"
    return f"{said}: install it for notebooks, or is it the students' own file?"


def remarks(grade: Grade) -> Iterator[str]:
    """Sentences for the student about what was handed in and what became of it."""
    if grade.file or grade.submitted or grade.late:
        name = f" as `{_last_part(grade.file)}`" if grade.file else ""
        on = f" on {moment(grade)}" if grade.submitted else ""
        others = ", together with others" if grade.group else ""
        attempt = f", attempt {grade.attempt} of {grade.attempts}" if grade.attempts > 1 else ""
        yield f"Handed in{name}{on}{others}{', late' if grade.late else ''}{attempt}."
    elif grade.attempts > 1:
        yield f"Attempt {grade.attempt} of {grade.attempts} is graded."
    if sentence := STATUSES[grade.status][1]:
        yield sentence
    # What is noted of other exercises is for the instructor.
    if grade.note and grade.status in (Status.REFUSED, Status.MISSING):
        yield grade.note
    if faulty(grade):
        yield GRADER_FAULT
    elif sentence := undecided(grade):
        yield sentence


def moment(grade: Grade) -> str:
    """When it was handed in, such as 3 May 2026, 14:05 UTC."""
    at = grade.submitted
    return f"{at.day} {at:%B %Y, %H:%M %Z}".strip() if at else ""
