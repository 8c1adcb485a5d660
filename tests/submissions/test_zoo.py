"""A sample of the zoo, graded for real: every hand-in gets the outcome that is known for it.

`grade zoo` grades all of it, which takes longer than a change should wait for.
"""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace

import pytest

from graders.harness.report import figures
from graders.harness.report.html import student_page
from graders.harness.zoo import Graded, Keeper, Submission, load
from graders.lesson import LESSON
from graders.lora.misconceptions import MISCONCEPTIONS
from tests.harness.report.records import TITLES, Page, grade, record

PENS = {name: load(name) for name in LESSON.names}
PENS["ex3"] = replace(PENS["ex3"], parameters={**PENS["ex3"].parameters, "STEPS": 100})
"""With as few steps as the style is learned in."""
HAND_INS = [
    pytest.param(name, submission, id=f"{name}: {submission.title}")
    for name, pen in PENS.items()
    for submission in pen.submissions
    if submission.sampled
]
REFERENCE, BESIDE = "the reference solution", "self-attention as well: every to_q, to_k, to_v, to_out.0"
FIGURES = {
    ("ex1", REFERENCE): ["All 64 cross-attention projections are chosen, and nothing else.", "mid 8×8 4 of 4"],
    ("ex1", BESIDE): ["All 64 cross-attention projections are chosen, and so is what was not asked for: 64 self-att"],
    ("ex2", REFERENCE): ["Every A is at 0 and every B is not", "A : exactly 0 in all 28 layers", "B : from "],
    ("ex2", "the base model trains, too"): ["own weights have gradients", "W, the base model's own : from "],
    ("ex2", "no backward"): ["There is no gradient to be seen", "B : no gradient in all 28 layers"],
    ("ex3", REFERENCE): [
        "U-Net: rank 4 and rank 16 All 28 cross-attention projections are chosen, and nothing else.",
        "from noise to picture your adapters act",
        "% at t = 62, ",
    ],
}
"""What the figures of a student's page say in words, for some hand-ins among those that are sampled."""


@pytest.fixture(scope="session")
def zoo(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[Graded]]]:
    """The hand-ins that this session tests, graded side by side."""
    chosen = [item.callspec.params for item in request.session.items if "zoo" in item.fixturenames]  # type: ignore[attr-defined]
    keeper = Keeper(tmp_path_factory.mktemp("zoo"))
    futures = {}
    # Where some start from what others have trained, that comes first, so that nobody waits for it at the end
    for name, pen in sorted(PENS.items(), key=lambda one: not any(s.pretrained for s in one[1].submissions)):
        of_this = [params["submission"] for params in chosen if params["exercise"] == name]
        futures |= {(name, title): future for title, future in keeper.grade(pen, of_this).items()}
    yield futures
    keeper.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("exercise", "submission"), HAND_INS)
def test_gets_its_verdict(zoo: dict[tuple[str, str], Future[Graded]], exercise: str, submission: Submission) -> None:
    """Each check of each hand-in ends as it must, and a failed one names the misconception."""
    false = zoo[exercise, submission.title].result().false_verdicts
    assert not false, "\n".join(false)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("exercise", "submission"),
    [hand_in for hand_in in HAND_INS if (hand_in.values[0], hand_in.values[1].title) in FIGURES],  # type: ignore[union-attr]
)
def test_figures(zoo: dict[tuple[str, str], Future[Graded]], exercise: str, submission: Submission) -> None:
    """What the checks measured of a real run is drawn on the student's page."""
    graded = zoo[exercise, submission.title].result()
    shown = replace(grade(exercise, folder=graded.folder / "graded"), result=graded.result)
    page = Page(student_page(record(shown), TITLES, {exercise: figures.of(shown)})).text
    assert FIGURES.keys() <= {(name, s.title) for name, pen in PENS.items() for s in pen.submissions if s.sampled}
    for said in FIGURES[exercise, submission.title]:
        assert said in page


@pytest.mark.parametrize("exercise", LESSON.names)
def test_titles_are_unique(exercise: str) -> None:
    """No hand-in hides behind another one's name."""
    titles = [submission.title for submission in PENS[exercise].submissions]
    assert len(titles) == len(set(titles))


def test_every_misconception_is_produced() -> None:
    """Each misconception that feedback can name is named for at least one hand-in."""
    produced = {slug for pen in PENS.values() for s in pen.submissions for slug in s.fails.values() if slug}
    assert produced == set(MISCONCEPTIONS)
