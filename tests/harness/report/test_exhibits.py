"""The pictures and charts of a student's page."""

import base64
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graders.harness.exhibits import MAX_COLUMNS, MAX_ROWS, Gallery
from graders.harness.report import figures
from graders.harness.report.figures import Figure, Picture
from graders.harness.report.html import MAX_BYTES, student_page
from graders.harness.result import CheckResult, Outcome
from tests.harness.report.records import (
    FAILED,
    TITLES,
    Page,
    exhibited,
    grade,
    noise,
    record,
    save_run,
)

PROMPTS = ["a green boat", "a purple cat"]
WEIGHTS = [(0.0, 0.0), (1.0, 0.0), (0.7, 0.4)]


def shown_pixels(page: str) -> dict[str, np.ndarray]:
    """The pixels of each picture of a page, by its words."""
    images = {}
    for image in Page(page).all("img"):
        content = base64.b64decode(image["src"].removeprefix("data:image/webp;base64,"))
        images[image["alt"]] = np.array(Image.open(io.BytesIO(content)).convert("RGB"))
    return images


def page_of(exercise: str, folder: Path) -> str:
    graded = exhibited(grade(exercise), folder)
    shutil.rmtree(folder / "run")
    return student_page(record(graded), TITLES, {exercise: figures.of(graded)})


def test_pictures_of_exercise_3_stand_beside_those_of_the_base_model(tmp_path: Path) -> None:
    """Each prompt has a row with the base model's picture and each rank's, pixel by pixel, and the losses are drawn."""
    base, four, sixteen = ([noise(16, 16, seed), noise(16, 16, seed + 1)] for seed in (0, 10, 20))
    losses = {"mapping": [[4, [0.5, 0.4, {"float": "nan"}, 0.2, 0.2]], [16, [0.5, 0.4, 0.3, 0.2, 0.1]]]}
    folder = save_run(
        tmp_path, {"PROMPTS": PROMPTS}, base_images=base, lora_images={4: four, 16: sixteen}, losses=losses
    )
    page = page_of("ex3", folder)
    pixels = shown_pixels(page)
    columns = {"base model": base, "rank 4": four, "rank 16": sixteen}
    assert list(pixels) == [f"{prompt}; {column}" for prompt in PROMPTS for column in columns]
    for column, pictures in columns.items():
        for prompt, picture in zip(PROMPTS, pictures, strict=True):
            assert np.array_equal(pixels[f"{prompt}; {column}"], picture)
    assert (
        "rank 4 : 5 steps; on average 0.5 in the first quarter, 0.2 in the last; no finite number in step 3"
        in Page(page).text
    )


def test_pictures_of_exercise_4_are_named_by_their_weights(tmp_path: Path) -> None:
    """Each cell of the grid is a row that names its weights, with a picture for each prompt."""
    grid = {weights: [noise(16, 16, i), noise(16, 16, i + 9)] for i, weights in enumerate(WEIGHTS)}
    pixels = shown_pixels(page_of("ex4", save_run(tmp_path, {"PROMPTS": PROMPTS}, images=grid)))
    names = ["style 0, subject 0", "style 1, subject 0", "style 0.7, subject 0.4"]
    assert list(pixels) == [f"{name}; {prompt}" for name in names for prompt in PROMPTS]
    assert np.array_equal(pixels["style 0.7, subject 0.4; a purple cat"], grid[WEIGHTS[2]][1])


@pytest.mark.parametrize(
    "images", [[noise(16, 16)], {"a": {"b": [noise(16, 90)]}, (1, 2, 3): []}, {4.5: [noise(1, 700)] * 9}]
)
def test_pictures_of_another_form_than_asked_for(tmp_path: Path, images: object) -> None:
    """Pictures that were left in another form than the exercise asks for are shown as they are."""
    for exercise in ("ex3", "ex4"):
        names = {"ex3": ("lora_images", "base_images"), "ex4": ("images",)}[exercise]
        folder = save_run(tmp_path / exercise, {"PROMPTS": PROMPTS}, **dict.fromkeys(names, images))
        assert shown_pixels(page_of(exercise, folder))


def test_nothing_to_see(tmp_path: Path) -> None:
    """Where a run has left no pictures, no losses, or nothing at all, the page is one without them."""
    empty = save_run(
        tmp_path / "empty", {"PROMPTS": PROMPTS}, losses="none", lora_images=None, base_images=[], images=7
    )
    (tmp_path / "broken" / "run").mkdir(parents=True)
    (tmp_path / "broken" / "run" / "request.json").write_text("{")
    for folder in (empty, tmp_path / "broken", tmp_path / "nowhere"):
        for exercise in ("ex1", "ex3", "ex4"):
            assert figures.of(exhibited(grade(exercise), folder)) == ()
    assert figures.of(grade("ex3")) == ()


def test_less_than_a_megabyte(tmp_path: Path) -> None:
    """A page stays under 1 MB for many large pictures of noise and the longest texts, and says what it leaves out."""
    many = {rank: [noise(200, 200, rank)] * 12 for rank in range(5)}
    ex3 = save_run(tmp_path / "3", {"PROMPTS": PROMPTS}, lora_images=many, base_images=[noise(200, 200)] * 12)
    ex4 = save_run(tmp_path / "4", {"PROMPTS": PROMPTS}, images={(i, 1): [noise(200, 300)] * 7 for i in range(14)})
    checks = [CheckResult(str(i), "title", Outcome.FAILED, 0, 1, found='"&<\0' * 50_000) for i in range(12)]
    folders = {"ex3": ex3, "ex4": ex4}
    grades = [exhibited(grade(name, *checks), folders.get(name, tmp_path)) for name in TITLES]
    page = student_page(record(*grades), TITLES, {each.exercise: figures.of(each) for each in grades})
    assert 300_000 < len(page.encode()) < MAX_BYTES
    assert len(Page(page).all("img")) == 2 * MAX_ROWS * MAX_COLUMNS
    assert "26 more pictures are not shown here" in page
    assert "… and more" in page


def test_pictures_make_way_for_text() -> None:
    """Should texts fill a page by themselves, it is made without pictures rather than too large for a mail."""
    picture = Picture("data:image/webp;base64," + "A" * MAX_BYTES, 8, 8, "c")
    large = {"ex1": [Figure(Gallery(name="a", title="a", columns=["a"], rows=[]), (("b", (picture,)),))]}
    page = student_page(record(grade()), TITLES, large)
    assert len(page.encode()) < MAX_BYTES
    assert FAILED.hint in page
