"""Records of students, made in code as grading makes them, and pages read as a browser reads them."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graders.harness import exhibits, lessons
from graders.harness.hand_in import Evidence, HandIn
from graders.harness.marks import Grade, Record, Status, Student
from graders.harness.result import CheckResult, Outcome, Result

TITLES = {
    "ex1": "Inspect LoRA target layers",
    "ex2": "Run one training step",
    "ex3": "Train a style LoRA",
    "ex4": "Compose two LoRAs",
}
RUN = {
    "ended": "completed",
    "cell": None,
    "error": None,
    "seconds": 61.2,
    "peak_memory_bytes": 1 << 30,
    "device": "cpu",
}
PASSED = CheckResult(
    "a", "`unet_param_count` counts the parameters", Outcome.PASSED, 2, 2, found="859,520,964", why="It is."
)
FAILED = CheckResult(
    "b",
    "`lora_fraction` compares each adapter with the U-Net",
    Outcome.FAILED,
    1,
    4,
    found="rank 4: 0.0462844. That is a percentage.\nrank 16: right",
    expected="LoRA parameters of this rank / parameters of the U-Net",
    why="This is why LoRA is cheap.",
    misconception="percent-not-fraction",
    hint="Divide lora_param_counts[rank] by unet_param_count.",
)
NOT_REACHED = CheckResult(
    "c", "Four times the rank", Outcome.NOT_REACHED, 0, 1, found="Not checked, because “`lora_fraction`” failed."
)
PERSON = CheckResult(
    "written_answers", "The written answers", Outcome.AWAITING_REVIEW, 0, 0, found="2 written answers, kept for you"
)
FAULT = CheckResult(
    "e", "The style grows", Outcome.GRADER_FAULT, 0, 0, found="The grader itself failed here (KeyError).", undecided=3.0
)
EVERY = (PASSED, FAILED, NOT_REACHED, PERSON, FAULT)
ERROR = {"ename": "OSError", "evalue": "no file in /srv/courses/lora 2026/fixtures/sd", "line": "unet = load(MODEL)"}


def grade(exercise: str = "ex1", *checks: CheckResult, run: dict[str, Any] | None = None, **more: Any) -> Grade:
    """A graded hand-in with these checks, or with one of each kind."""
    result = Result(exercise, RUN | (run or {}), checks or EVERY)
    return Grade(exercise, Status.GRADED, result.max_score + result.undecided, 4.0, result, **more)


def nothing(status: Status, exercise: str = "ex1", **more: Any) -> Grade:
    """An exercise without a result."""
    return Grade(exercise, status, 10.0, 4.0, **more)


def record(*grades: Grade, name: str = "Ada Lovelace", id: str = "1234") -> Record:
    """A student with these grades."""
    return Record(Student(id, name), {grade.exercise: grade for grade in grades})


def saying(text: str) -> Record:
    """A student who has got the same text into everything that a hand-in, a file or a name may reach."""
    checks = tuple(
        replace(check, title=text, found=text, expected=text, why=text, hint=text, misconception=text)
        for check in EVERY
    )
    error = {"ename": text, "evalue": text, "line": text}
    at = datetime(2026, 5, 3, 14, 5, tzinfo=UTC)
    return record(
        grade(
            "ex1", *checks, run={"ended": "cell_error", "cell": 3, "error": error}, file=text, submitted=at, note=text
        ),
        nothing(Status.REFUSED, "ex2", note=text, file=text, submitted=at),
        nothing(Status.TROUBLE, "ex3", note=text),
        name=text,
        id=text,
    )


def save_run(folder: Path, parameters: dict[str, Any], **variables: Any) -> Path:
    """A run folder as the sandbox leaves it: pictures where the value is made of arrays, else encoded values."""
    kinds = {name: "pictures" if _has_pictures(value) else "value" for name, value in variables.items()}
    place = folder / "run" / "evidence" / "variables"
    place.mkdir(parents=True)
    request = {"parameters": repr(parameters), "hand_in": kinds, "output": "output"}
    (folder / "run" / "request.json").write_text(json.dumps(request))
    for name, value in variables.items():
        if kinds[name] == "value":
            document = {"kind": "value", "value": value}
        else:
            (place / name).mkdir()
            document = {"kind": "pictures", "folder": name, "pictures": _saved(value, place / name)}
        (place / f"{name}.json").write_text(json.dumps(document))
    return folder


def exhibited(grade: Grade, folder: Path) -> Grade:
    """The grade with the exhibits that the lesson makes of what is in a folder, kept there beside the result."""
    assert grade.result is not None
    hand_in = HandIn(Evidence(folder / "run"), {})
    made = lessons.meant().exhibits(grade.exercise, hand_in, grade.result)
    listed = exhibits.write([exhibits.pack(exhibit) for exhibit in made], folder)
    return replace(grade, result=replace(grade.result, exhibits=listed), folder=folder)


def _has_pictures(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return True
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(map(_has_pictures, items))


def _saved(value: Any, place: Path) -> Any:
    if isinstance(value, dict):
        keys = [{"tuple": list(key)} if isinstance(key, tuple) else key for key in value]
        return {"mapping": [[key, _saved(item, place)] for key, item in zip(keys, value.values(), strict=True)]}
    if isinstance(value, list):
        return {"list": [_saved(item, place) for item in value]}
    name = f"{len(list(place.iterdir())):04}.png"
    Image.fromarray(value).save(place / name, compress_level=1)
    return {"file": name}


@dataclass
class Page(HTMLParser):
    """A page as its elements, each with its attributes, and its texts."""

    source: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, with spaces for whatever stands between words."""
        return " ".join(" ".join(self.texts).split())

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        """The elements and the names of their attributes: what no text may change."""
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


HOSTILE_RUNS = {
    "a word": "lora_" * 300,
    "marks that enclose": "\u0301\u0489" * 400,
    "a letter under marks": "a" + "\u0489" * 600,
    "Zalgo": "".join(letter + "\u0300\u0301\u033f\u0344\u035b" * 40 for letter in "adapter") * 8,
    "joined pictures": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d" * 200,
    "letters joined by nothing": "a\u200d\u2060\ufeff" * 400,
    "no-break spaces": "rank\u00a016\u202f" * 200,
    "hyphens that do not break": "x\u2011" * 500,
    "the widest letters": "\ufdfd" * 120 + "\u2e3b" * 80 + "\U00012219" * 80,
    "from right to left": "\u202e\u05d0\u0627" * 300,
    "tabs": "\t" * 300 + "x",
    "spaces": "x" + " " * 2000 + "y",
    "lines": "x\n" * 700,
    "a Tibetan stack": "\u0f40" + "\u0f90\u0f71" * 300,
    "a joined script": "\u0e01" + "\u0e49" * 500 + "\u0644\u200d" * 400,
    "flags": "\U0001f1e9\U0001f1ea" * 300 + "\U000e0067" * 300,
    "words that do not break": "x\u2060" * 900,
    "variation selectors": "\u2764\ufe0f" * 500,
}
"""Texts that take more room than they look like, or that a browser does not break."""


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
