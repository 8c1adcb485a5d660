"""A student's page."""

import re
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graders.harness.course.answers import Answer
from graders.harness.course.likeness import Likeness
from graders.harness.exhibits import MAX_CURVES, Curves, Gallery
from graders.harness.exhibits import Table as Rows
from graders.harness.live import feedback as live
from graders.harness.live.checker import Live
from graders.harness.marks import Gradebook, Record, Status
from graders.harness.report import figures, pages
from graders.harness.report.course import course_page
from graders.harness.report.figures import Figure
from graders.harness.report.html import student_page
from graders.harness.result import CheckResult, Outcome
from tests.harness.report import chromium
from tests.harness.report.records import (
    ERROR,
    EVERY,
    FAILED,
    FAULT,
    HOSTILE_RUNS,
    PASSED,
    PERSON,
    TITLES,
    Page,
    exhibited,
    grade,
    noise,
    nothing,
    record,
    save_run,
    saying,
)

STYLES = Path(pages.__file__).parent / "templates"


def attack(address: str) -> str:
    """Everything that may become more than text, in one text; what of it runs or loads is heard at the address."""
    return "".join(
        [
            f"<script>fetch('{address}/script'); document.title = 'owned'</script>",
            f"<img src={address}/img onerror=\"document.title='owned'\">",
            f"\"><svg onload=\"document.title='owned'\"><image href='{address}/svg'/></svg>",
            f"' onmouseover='document.title=1' style='background:url({address}/style)'",
            f"</style></title></textarea><script src={address}/src></script><style>@import '{address}/css';",
            f"<meta http-equiv=refresh content='0;url={address}/meta'><base href={address}/>",
            f"<link rel=stylesheet href={address}/link><iframe src={address}/frame></iframe>",
            f"<object data={address}/object></object><video src={address}/video autoplay></video>",
            f"<details open ontoggle=\"document.title='owned'\">javascript:alert(1) <a href='{address}/a' ping={address}/p>a</a>",
            "<!-- ]]> --> &lt;b&gt; &#x202e; {{ 7 * 7 }} {% raw %} <form action=x><h1>Score: 99</h1>",
            "\u202e\u2066\u200f\x00\x07\x1b[31m\x9b\ud800\u2028\ufeff\x0c",
        ]
    )


def hung_with(text: str) -> dict[str, tuple[Figure, ...]]:
    """Exhibits in which a hand-in has named everything."""
    said = {"title": text, "lead": text, "note": text}
    rows = [(text, (np.zeros((8, 8, 3), np.uint8), None))]
    shown = [
        Gallery(name="a", columns=[text, text], rows=rows, left_out=3, **said),
        Curves(name="b", curves={text: [0.3, 0.2, 0.1, 0.1]}, told={text: text}, steps=[text], unit=text[:4], **said),
        Rows(name="c", columns=[text, text], rows=[[text, 0.25], [None, text]], **said),
    ]
    return {"ex1": figures.figures(shown)}


def test_says_what_the_terminal_says() -> None:
    """Checks that failed are there in full, the others in a line that says how they ended, and so is the score."""
    page = Page(student_page(record(grade("ex1", *EVERY)), TITLES)).text
    assert "3 of 11, 3 points undecided" in page
    assert "failed: lora_fraction compares each adapter with the U-Net 1 / of 4" in page
    for said in (FAILED.expected, FAILED.why, FAILED.hint, "a percentage was given where a fraction was asked for"):
        assert said in page
    assert "passed: unet_param_count counts the parameters" in page
    assert "not checked: Four times the rank" in page
    assert "Not checked, because" in page
    assert "Checks: 3 of 7, 3 points undecided Written answers: awaiting review, up to 4" in page
    assert "Its points are undecided until your instructor has looked" in page


def test_penalty_written_points_and_time() -> None:
    """What a person gave and what was lost for being late are told apart from the checks, with the time of the hand-in."""
    at = datetime(2026, 5, 3, 14, 5, tzinfo=UTC)
    late = grade(
        "ex1",
        PASSED,
        FAILED,
        PERSON,
        written=3.5,
        penalty=2,
        late=True,
        submitted=at,
        attempt=2,
        attempts=3,
        file="a/e.ipynb",
    )
    page = Page(student_page(record(late), TITLES)).text
    assert "4.5 of 10 Checks: 3 of 6 Written answers: 3.5 of 4 Late: −2" in page
    assert "Handed in as e.ipynb on 3 May 2026, 14:05 UTC, late, attempt 2 of 3." in page
    assert "read: The written answers 3.5 / of 4" in page
    assert "so far" not in page


@pytest.mark.parametrize(
    ("status", "said", "points"),
    [
        (Status.REFUSED, "could not be graded, and so it has no points", "0 of 14"),
        (Status.MISSING, "Nothing was handed in, and so there are no points", "0 of 14"),
        (Status.EXEMPT, "does not count for you", "does not count"),
        (Status.TROUBLE, "reasons of the machine and not of your hand-in", "no score yet"),
    ],
)
def test_says_why_there_is_no_result(status: Status, said: str, points: str) -> None:
    """An exercise without a result says why, and one that the machine could not grade has no points, not 0."""
    page = Page(student_page(record(nothing(status)), TITLES)).text
    assert said in page
    assert f"{TITLES['ex1']} ex1 {points}" in page


def test_a_note_is_for_the_instructor_unless_it_says_why_a_hand_in_was_refused() -> None:
    """A student reads why a hand-in was refused, and nothing of what the instructor is to look at."""
    for status in (Status.GRADED, Status.EXEMPT, Status.TROUBLE):
        noted = grade(note="It smells.") if status is Status.GRADED else nothing(status, note="It smells.")
        assert "It smells." not in student_page(record(noted), TITLES)
    assert "It smells." in student_page(record(nothing(Status.REFUSED, note="It smells.")), TITLES)


def test_how_a_run_ended() -> None:
    """A run that stopped is announced with its cell, its error and what to do, without the machine's folders."""
    page = student_page(record(grade(run={"ended": "cell_error", "cell": 4, "error": ERROR})), TITLES)
    text = Page(page).text
    assert "stopped with an error in code cell 4 (61 s, 1.0 GiB)" in text
    assert "unet = load(MODEL)" in text
    assert "Restart the kernel" in text
    assert "OSError: no file in …/" in text
    assert "/srv" not in page


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("in '/srv/lora 2026/x/sd.json'!", "in '…/sd.json'!"),
        ("/home/mueller/courses/sd, which", "…/sd, which"),
        ("file:///srv/course/sd.json", "…/sd.json"),
        (r"C:\Users\Mueller\course\sd.json", "…/sd.json"),
        (r"at 'C:\\Users\\Mueller\\sd.json'", "at '…/sd.json'"),
        ("(/tmp/a/b)", "(…/b)"),
        ("W·x + (α/r)·B·A·x, 3/4/5 and r·(in + out)/2", "W·x + (α/r)·B·A·x, 3/4/5 and r·(in + out)/2"),
        (
            "OUTPUT_DIR/rank4/x, ./a/b and https://example.org/a/b",
            "OUTPUT_DIR/rank4/x, ./a/b and https://example.org/a/b",
        ),
    ],
)
def test_paths_of_the_machine_are_left_out(path: str, left: str) -> None:
    """Of a path from the root only the last part is left; what only looks like one, and an address, stay as they are."""
    page = Page(student_page(record(grade("ex1", CheckResult("a", "t", Outcome.FAILED, 0, 1, found=path))), TITLES))
    assert left in page.texts
    assert "ueller" not in page.source


def test_text_stays_text_in_a_browser(tmp_path: Path) -> None:
    """Whatever is in a name, a text, a file's name or a picture's, the opened page has the same elements as a harmless one."""
    with chromium.listening() as (address, asked):
        text = attack(address)
        shown = Page(chromium.opened(student_page(saying(text), TITLES, hung_with(text)), tmp_path / "a"))
    harmless = Page(chromium.opened(student_page(saying("words"), TITLES, hung_with("words")), tmp_path / "b"))
    assert shown.shape == harmless.shape
    assert asked == []
    assert "<script>fetch(" in shown.text
    assert r"\u202e\u2066\u200f\x00\x07\x1b[31m\x9b\ud800\u2028\ufeff\x0c" in shown.text
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown.source)


def test_a_script_in_the_page_would_not_run(tmp_path: Path) -> None:
    """Even markup that has made it into the page loads and runs nothing; without the page's policy the same would."""
    page = student_page(record(grade()), TITLES)
    with chromium.listening() as (address, asked):
        owned = page.replace("</main>", attack(address) + "</main>").encode(errors="replace").decode()
        shown = chromium.opened(owned, tmp_path / "a")
        assert asked == []
        assert "<title>owned" not in shown
        chromium.opened(re.sub("<meta http-equiv=.Content.*?>", "", owned), tmp_path / "b")
        assert "/img" in asked


def test_nothing_is_fetched() -> None:
    """Every address in the page is a picture inside of it or a place on it, and no style names one."""
    page = Page(student_page(saying("words"), TITLES, hung_with("words")))
    addresses = [a[key] for _, a in page.elements for key in ("src", "href", "srcset", "action", "data") if key in a]
    assert addresses
    assert all(address.startswith(("data:image/webp;base64,", "#ex")) for address in addresses)
    assert not re.search(
        r"url\(|@import|http:|https:|//",
        "".join(page.source.split("<style>")[1].split("</style>")[0]).replace("/*", ""),
    )
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}


def test_headings_language_and_pictures_in_words() -> None:
    """Headings go down a level at a time from the only first one, the language is told, and every picture has words."""
    page = Page(student_page(saying("words"), TITLES, hung_with("words")))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert page.all("html") == [{"lang": "en"}]
    assert page.all("img")
    assert all(image["alt"] for image in page.all("img"))


def _channel(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def contrast(one: str, other: str) -> float:
    """WCAG's contrast of two colours as #rrggbb."""
    weights = (0.2126, 0.7152, 0.0722)
    light, dark = sorted(
        (
            sum(w * _channel(int(colour[i : i + 2], 16)) for w, i in zip(weights, (1, 3, 5), strict=True))
            for colour in (one, other)
        ),
        reverse=True,
    )
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str) -> None:
    """Text has a contrast of 4.5 with what it stands on, and lines of charts one of 3, in both schemes."""
    light, dark = re.findall(r":root \{(.*?)\}", (STYLES / "style.css").read_text(), re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", light if scheme == "light" else dark))
    texts = [(ink, on) for ink in ("ink", "soft", "accent") for on in ("page", "card", "field")]
    texts += [(mark, f"{mark}-tint") for mark in ("good", "bad", "wait", "person", "fault")]
    texts += [("ink", "bad-tint")]
    for ink, on in texts:
        assert contrast(colours[ink], colours[on]) >= 4.5, (ink, on)
    for line in ("curve-1", "curve-2", "curve-3", "curve-4", "bad"):
        assert contrast(colours[line], colours["card"]) >= 3, line


def test_marks_are_not_told_by_colour_alone() -> None:
    """Each way to end has a sign and a word of its own, and each curve a dash of its own."""
    page = Page(student_page(record(grade("ex1", *EVERY)), TITLES))
    for said in (
        "✓",
        "✗",
        "–",
        "…",
        "!",
        "passed:",
        "failed:",
        "not checked:",
        "awaiting review:",
        "undecided:",
    ):
        assert said in page.text
    dashes = re.findall(r"\.curve-\d \{(.*)\}", (STYLES / "figures.css").read_text())
    assert len({re.sub(r"stroke: .*?;", "", dash) for dash in dashes}) == MAX_CURVES


def test_fits_a_phone(tmp_path: Path) -> None:
    """Nothing sticks out at 360 pixels, however long a word is, and every picture is one that the browser can show."""
    rows = {weights: [noise(64, 64)] * 4 for weights in [(0.0, 0.0), (1.0, 0.0), (0.7, 0.4)]}
    folder = save_run(tmp_path / "ex4", {"PROMPTS": ["a" * 60, "a cat"]}, images=rows)
    long = [saying("lora_" * 300), saying("\u0301\u0489" * 400)]
    graded = exhibited(grade("ex4"), folder)
    drawn = student_page(record(graded), TITLES, {"ex4": figures.of(graded)})
    sizes = chromium.measured(
        [*(student_page(r, TITLES, hung_with("x" * 500)) for r in long), drawn], 360, tmp_path / "chromium"
    )
    assert [width for width, _, _ in sizes] == [360, 360, 360]
    assert [broken for _, _, broken in sizes] == [0, 0, 0]
    assert len(Page(drawn).all("img")) == 12


@pytest.mark.parametrize("kind", ["student", "course", "live"])
def test_no_text_widens_a_page(kind: str, tmp_path: Path) -> None:
    """What no browser breaks, or what stands high above its line, is cut off where its place ends, whatever the fonts."""
    make = {"student": _student, "course": _course, "live": _live}[kind]
    pages = [make(text).encode(errors="replace").decode() for text in HOSTILE_RUNS.values()]
    sizes = chromium.measured(pages, 360, tmp_path)
    assert {name: width for name, (width, _, _) in zip(HOSTILE_RUNS, sizes, strict=True) if width != 360} == {}


def _student(text: str) -> str:
    return student_page(saying(text), TITLES, hung_with(text))


def _course(text: str) -> str:
    ours = saying(text)
    answers = [Answer("ex1", text, 1, text, given, text, 1) for given in (text, "")]
    alike = [Likeness(text, (ours.student, ours.student), "ex1", text, text)]
    return course_page(Gradebook({name: TITLES[name] for name in ours.grades}, (ours,)), answers, alike)


def _live(text: str) -> str:
    result = saying(text).grades["ex1"].result
    assert result is not None
    shown = live.page(Live("title", result, (text,)), {"losses": "value", "images": "pictures"}, {"losses": text})
    return f"<!DOCTYPE html><body style='margin: 0'>{shown['text/html']}"


def test_no_name_but_the_students() -> None:
    """A student's page names no other student of the course."""
    course: list[Record] = [
        record(grade("ex1", *EVERY, FAULT), name=name, id=name) for name in ("Ada Ypsilon", "Grace Omega")
    ]
    for mine, other in (course, course[::-1]):
        page = student_page(mine, TITLES)
        assert mine.student.name in page
        assert other.student.name not in page
