"""What lessons draw, on a page."""

import pytest

from graders.harness.data.values import Malformed
from graders.harness.exhibits import Diagram, Drawer
from graders.harness.report import figures
from graders.harness.report.drawings import checked
from graders.harness.report.html import student_page
from graders.lesson import LESSON
from tests.harness.report.records import TITLES, Page, grade, record

SOUND = '<p class="small">A &lt; B</p><svg viewBox="0 0 9 9"><path class="b" d="M0,0h9"/></svg><ul><li style="--level: 2"/></ul>'


def test_what_may_be_drawn() -> None:
    """SVG, and HTML around it, are as they were written."""
    assert checked(SOUND) == SOUND.replace("/></svg>", "></path></svg>").replace("/></ul>", "></li></ul>")
    assert checked(" ") == ""
    assert "\u202e" not in checked("<p>\u202eevil</p>")


@pytest.mark.parametrize(
    "drawn",
    [
        "<script>1</script>", "<p onclick='1'>x</p>", "<svg onload='1'/>", "<svg><script/></svg>", "<img src='x'/>",
        "<svg><image href='x'/></svg>", "<svg><use href='#a'/></svg>", "<a href='javascript:1'>x</a>", "<style>*{}</style>",
        "<p style='background: url(x)'>x</p>", "<p style='left: 1px; behavior: expression(1)'>x</p>", "<p>x", "<br>", "</div><p>",
        "<p>&nbsp;</p>", "<![CDATA[<script>1</script>]]>", "<!-- x -->", "<?php 1?>", "<!DOCTYPE x [<!ENTITY a 'b'>]><p>&a;</p>",
        "<P>x</P>", "<x:p xmlns:x='http://www.w3.org/1999/xhtml'>x</x:p>", "<p\x00>x</p>", "<p>\x01</p>", "x" * 300_000,
        "<foreignObject><p>x</p></foreignObject>", "<iframe/>", "<svg><animate attributeName='href'/></svg>", "<p id='ex1'>x</p>",
    ],
)  # fmt: skip
def test_what_may_not(drawn: str) -> None:
    """Anything that loads, runs or leads anywhere is refused, and so is what browsers might read otherwise."""
    with pytest.raises(Malformed):
        checked(drawn)


@pytest.mark.parametrize(
    "text", ["<script>1</script>", "x</p><img src=x onerror=1>", "<b>bold</b>", "&lt;script&gt;", None]
)
def test_a_lesson_that_does_not_escape(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lesson that pastes a hand-in's text into its drawing, or fails at it, loses the figure at most, and never the page."""
    drawer = Drawer(lambda data: f"<p>{data['text'].strip()}</p>", ".mine { color: red; }")
    monkeypatch.setattr(type(LESSON), "drawers", lambda self: {"mine": drawer})
    shown = figures.figures(
        [Diagram(name="a", title="Mine", drawer=name, data={"text": text}) for name in ("mine", "no")]
    )
    page = student_page(record(grade("ex1")), TITLES, {"ex1": shown})
    before, after = (
        {tag for tag, _ in Page(one).elements} for one in (student_page(record(grade("ex1")), TITLES), page)
    )
    assert after <= before | {"figure", "figcaption", "p", "b"}
    assert ("Mine" in page) == (text in ("<b>bold</b>", "&lt;script&gt;")) == (".mine" in page)
