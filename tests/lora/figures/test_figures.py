"""Figures that are made of what the checks have measured."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from graders.harness import measured
from graders.harness.hand_in import Evidence
from graders.harness.measured import Table
from graders.harness.report import charts, figures
from graders.harness.report.html import MAX_BYTES, student_page
from graders.harness.result import CheckResult, Outcome
from graders.lora import catalog
from graders.lora.exhibits import exhibits, timesteps
from graders.lora.figures import drawers, gradients
from graders.lora.figures.gradients import LANE
from graders.lora.figures.unet import MAX_CELLS, Drawing, drawing
from graders.lora.measures.architecture import Architecture
from graders.lora.measures.layers import Kind
from tests.harness.report import chromium
from tests.harness.report.records import TITLES, Page, grade, record

FIRST_STEP = {
    "depth": [1], "pairs": [4], "block": [0, 1, 2, 2], "a": [0.0] * 4, "b": [0.1, 0.001, 0.02, 0.1], "w": [None] * 4,
    "broken": [0, 0, 0],
}  # fmt: skip
CHECKS = {"ex1": "cross_attention_layers", "ex2": "gradients", "ex3": "cross_attention_only"}
PROFILE = {"timestep": [125.0, 375.0, 625.0, 875.0], "difference": [0.4, 0.25, 0.2, 0.05]}
ABSURD = [math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 10**400, -1, "x", None, [[]], {}, True]


@pytest.fixture(scope="module")
def sd15() -> Architecture:
    return Architecture(str(catalog.ROOT / "configs" / "stable-diffusion-v1-5"))


def page_of(exercise: str, tables: dict[str, Any], check: str = "") -> str:
    """The page of a result whose check has measured these tables."""
    stored = {part: measured.table(columns) for part, columns in tables.items()}
    checked = CheckResult(check or CHECKS[exercise], "title", Outcome.PASSED, 1, 1, measured=stored)
    shown = figures.figures(exhibits(exercise, Evidence(Path("nowhere")), {checked.id: checked.measured}))
    return student_page(record(grade(exercise, checked)), TITLES, {exercise: shown})


def unet(table: Table) -> Drawing:
    drawn = drawing(table)
    assert drawn is not None
    return drawn


def everything(sd15: Architecture) -> list[str]:
    """Pages with every figure, of hand-ins that are right, wrong and odd."""
    asked = sd15.cross_attention
    lists = {
        "right": asked,
        "some": [name for name in asked if ".to_q" in name],
        "attention": [layer.name for layer in sd15.of_kind(Kind.SELF_ATTENTION, Kind.CROSS_ATTENTION)],
        "all": [*sd15.modules, *sd15.parameter_names],
    }
    unets = {name: sd15.blocks.spread(asked, names, sd15.layers) for name, names in lists.items()}
    many = {**FIRST_STEP, "block": [i % 3 for i in range(400)], "pairs": [10**6]}
    many |= {name: [10.0 ** (i % 90 - 45) if i % 7 else None for i in range(400)] for name in "abw"}
    return [
        page_of("ex1", {"": unets["all"]}),
        page_of("ex3", unets),
        page_of("ex2", {"": FIRST_STEP}),
        page_of("ex2", {"": many}),
        page_of("ex3", {f"rank {rank}": PROFILE for rank in range(6)}, "denoises_the_style"),
    ]


def test_where_layers_stand(sd15: Architecture) -> None:
    """Each block says how many projections were chosen and what else was, and no name of a layer is printed."""
    asked = sd15.cross_attention
    chosen = [name for name in asked if name.startswith("down") or "up_blocks.1" in name]
    chosen += [layer.name for layer in sd15.of_kind(Kind.SELF_ATTENTION) if layer.name.startswith("mid")]
    page = Page(page_of("ex1", {"": sd15.blocks.spread(asked, chosen, sd15.layers)}))
    assert (
        "36 of the 64 cross-attention projections are chosen, and so is what was not asked for: 4 self-att" in page.text
    )
    for said in (
        "down 0 64×64 8 of 8 cross-attention down 1 32×32 8 of 8 cross-attention down 2 16×16 8 of 8",
        "down 3 8×8 no cross-attention mid 8×8 0 of 4 cross-attention 4 self-attention that were not asked for up 0 8×8",
        "up 1 16×16 12 of 12 cross-attention up 2 32×32 0 of 12 cross-attention up 3 64×64 0 of 12",
    ):
        assert said in page.text
    assert "outside" not in page.text
    assert not re.search(r"attn|to_[qkv]|transformer", page.source)


def test_as_many_squares_as_layers(sd15: Architecture) -> None:
    """Squares are filled, empty or crossed for as many layers as were chosen, left out or chosen by mistake."""
    asked = sd15.cross_attention
    queries = [name for name in asked if ".to_q" in name]
    some = unet(sd15.blocks.spread(asked, [*queries, "conv_in"], sd15.layers))
    squares = {block.name: (block.filled, block.empty, block.crossed) for block in some.blocks}
    assert squares["down 1"] == (2, 6, 0)
    assert squares["up 3"] == (3, 9, 0)
    assert squares["outside of the blocks"] == (0, 0, 1)
    every = unet(sd15.blocks.spread(asked, sd15.modules, sd15.layers))
    assert every.each > 1
    assert max(block.filled + block.empty + block.crossed for block in every.blocks) <= 2 * MAX_CELLS


def test_ranks_on_the_same_layers_share_a_drawing(sd15: Architecture) -> None:
    """Adapters that sit on the same layers are drawn once, under the names of both, and others each for itself."""
    asked = sd15.cross_attention
    all_of_them, few = (sd15.blocks.spread(asked, names, sd15.layers) for names in (asked, asked[:3]))
    page = Page(page_of("ex3", {"rank 4": all_of_them, "rank 16": all_of_them, "rank 2": few}))
    assert page.text.count("Where your layers stand") == 2
    assert "Where your layers stand in the U-Net: rank 4 and rank 16" in page.text
    assert "Where your layers stand in the U-Net: rank 2" in page.text


def points(marks: gradients.Marks) -> list[float]:
    """The heights of the marks, in percent from the top."""
    return [float(y) for y in re.findall(r"M[\d.]+,([\d.]+)h", marks.path)]


def drawn(**changes: list[Any]) -> gradients.Gradients:
    chart = gradients.chart(measured.table(FIRST_STEP | changes))
    assert chart is not None
    return chart


def test_gradients_of_the_first_step() -> None:
    """Every A is a mark in the row of zeros, every B one above it, the higher the larger, and the words say so."""
    chart = drawn()
    a, b, w = chart.marks
    (zero,) = chart.rows
    assert (zero.label, zero.middle) == ("0", 100 - LANE / 2)
    assert points(a) == [zero.middle] * 4
    assert points(b)[0] == points(b)[3] < points(b)[2] < points(b)[1] < zero.top
    assert [tick.label for tick in chart.up] == ["10⁻³", "10⁻²", "10⁻¹"]
    assert chart.up[0].at == points(b)[1]
    assert w.path == ""
    page = Page(page_of("ex2", {"": FIRST_STEP})).text
    assert "Every A is at 0 and every B is not" in page
    assert "A : exactly 0 in all 4 layers B : from 0.001 to 0.1 in all 4 layers" in page
    assert "W, the base model's own : no gradient in all 4 layers" in page


def test_gradients_that_are_not_those_of_a_first_step() -> None:
    """Gradients that are missing have a row of their own, and those of the base model are seen and named."""
    silent = drawn(a=[None] * 4, b=[None] * 4)
    assert [row.label for row in silent.rows] == ["none"]
    assert points(silent.marks[0]) == points(silent.marks[1]) == [50.0] * 4
    assert "no gradient to be seen" in silent.told
    mixed = drawn(a=[0.0, None, 0.5, 0.5], b=[None, None, 1.0, 0.0], broken=[0, 1, 0])
    assert [row.label for row in mixed.rows] == ["0", "none"]
    assert mixed.marks[0].told == "0.5 in 2, exactly 0 in 1, no gradient in 1 of 4 layers"
    assert mixed.marks[1].told == "1 in 1, exactly 0 in 1, no gradient in 1, NaN or infinite in 1 of 4 layers"
    assert "otherwise" in mixed.told
    unfrozen = drawn(w=[0.1, 0.2, 0.3, 0.4])
    assert len(points(unfrozen.marks[2])) == 4
    assert "base model's own weights have gradients" in unfrozen.told


def test_where_adapters_act() -> None:
    """Each rank has a curve over the timesteps, in percent, which is told in words as well."""
    tables = {"rank 4": PROFILE, "rank 16": {**PROFILE, "difference": [0.1, 0.3, 0.2, 0.15]}}
    page = Page(page_of("ex3", tables, "denoises_the_style"))
    assert "rank 4 : 40 % at t = 125, 5 % at t = 875" in page.text
    assert "rank 16 : 10 % at t = 125, 15 % at t = 875; most, 30 %, at t = 375" in page.text
    (curves,) = timesteps({part: measured.table(table) for part, table in tables.items()})
    plot = charts.plot(curves)
    assert plot is not None
    heights = [float(y) for y in re.findall(r",([\d.]+)", plot.curves[0].path)]
    assert heights == [0.0, 37.5, 50.0, 87.5]
    assert [tick.label for tick in plot.across] == ["t = 125", "t = 375", "t = 875"]


@pytest.mark.parametrize("name", [None, *FIRST_STEP, "asked", "right", "width", "other", "timestep", "difference"])
def test_absurd_numbers_break_nothing(sd15: Architecture, name: str | None) -> None:
    """Whatever stands in a stored result, and however much or little of it, there is a page, and no number in it is nan."""
    spread = sd15.blocks.spread(sd15.cross_attention, sd15.cross_attention, sd15.layers)
    whole: dict[str, Table] = {"ex1": spread, "ex2": FIRST_STEP, "ex3": PROFILE}
    for exercise, table in whole.items():
        if name is not None and name not in table:
            continue
        for column in ([], ABSURD, ABSURD[:4], [1], [1e6] * 10, [0.0] * 10, [7] * 100_000, [5e-324, 1e300, 1, 2]):
            odd = {name: column} if name else dict.fromkeys(table, column)
            check = "denoises_the_style" if exercise == "ex3" else ""
            page = page_of(exercise, {part: {**table, **odd} for part in ("", "rank 4")}, check)
            assert len(page.encode()) < MAX_BYTES / 4
            assert not re.search(r"\b(nan|inf)\b", "".join(re.findall(r'(?:d|style|viewBox)="[^"]*"', page)))


def test_every_figure_fits_a_phone(sd15: Architecture, tmp_path: Path) -> None:
    """At 360 pixels no figure sticks out in a real browser, and no page is near its limit."""
    pages = everything(sd15)
    assert [len(Page(page).all("figure")) for page in pages] == [1, 4, 1, 1, 1]
    assert all(len(page.encode()) < MAX_BYTES / 4 for page in pages)
    assert [width for width, _, _ in chromium.measured(pages, 360, tmp_path)] == [360] * len(pages)


def test_figures_are_told_in_words(sd15: Architecture) -> None:
    """Every figure has a heading and a sentence, what is only drawn is hidden from screen readers, and nothing is fetched."""
    for source in everything(sd15):
        page = Page(source)
        tags = [tag for tag, _ in page.elements]
        assert tags.count("figcaption") == tags.count("figure")
        assert "script" not in tags
        assert not re.search(r"url\(|href=.(?!#ex)|src=", source)
        for figure in re.findall(r"<figure.*?</figure>", source, re.DOTALL):
            assert re.search(r"<h3>[A-Z].*</h3>", figure)
            hidden = r'<div class="plot[^>]*aria-hidden="true".*?(?=<ul)|<svg[^>]*aria-hidden="true".*?</svg>'
            words = re.sub(hidden, "", figure, flags=re.DOTALL)
            assert "<path" not in words
            assert len(Page(words).text) > 150


def test_marks_differ_in_more_than_colour() -> None:
    """A, B and W have ends, and squares fillings, of their own."""
    style = Path(drawers.__file__).with_name("figures.css").read_text()
    shapes = {kind: re.search(rf"svg \.{kind} {{(.*)}}", style) for kind in ("hole", "b", "w", "filled", "empty")}
    assert all(shapes.values())
    assert "linecap: square" in shapes["b"][1]  # type: ignore[index]
    assert "linecap: butt" in shapes["w"][1]  # type: ignore[index]
    assert "fill" in shapes["filled"][1]  # type: ignore[index]
    assert "dasharray" in shapes["empty"][1]  # type: ignore[index]
