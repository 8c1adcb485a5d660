"""Every hostile hand-in is graded for real, beside innocent ones, and contained.

The cases are listed in the modules beside this one; what "contained" means is written in `contained.py`.
"""

from concurrent.futures import Future
from dataclasses import replace

import pytest

from tests.hostile import amok, exits, files, injections, liars, papers, quotas, spies
from tests.hostile.arena import Arena
from tests.hostile.case import Aftermath, Case, cold
from tests.hostile.contained import assert_contained, assert_innocents, assert_said
from tests.hostile.hand_in import HandIn, Said

CROWDED = (amok, exits, quotas)
"""What is taken or ended here may be the neighbours': innocent hand-ins are graded beside these."""
LYING = (liars, files, injections)
"""What all checks look at is made up here, in both runs; elsewhere one run shows what there is to see."""
MODULES = (*CROWDED, spies, *LYING)
ALL = [
    (replace(case, once=module not in LYING and case.exercise == "ex1" and case.points is None), module)
    for module in MODULES
    for case in module.CASES
]
CASES = [pytest.param(case, module in CROWDED, id=case.title) for case, module in ALL]
COLD = [
    pytest.param(
        cold(case),
        module in CROWDED,
        id=cold(case).title,
        marks=() if case.title == module.CASES[0].title else pytest.mark.campaign,
    )
    for case, module in ALL
]
"""The same in a sandbox that is started for each of them, as where nothing can be forked."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.title)
def test_paper(graded: dict[str, Future[Said]], ring: Arena, paper: HandIn) -> None:
    """A hostile file is graded right, or refused with a reason and a remedy."""
    assert_said(paper, graded[paper.title].result(), ring.outside.canary)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("case", "crowded"), [*CASES, *COLD])
def test_case(graded: dict[str, Future[Aftermath]], ring: Arena, case: Case, crowded: bool) -> None:
    """A hostile notebook does no harm, earns what its honest part deserves, and costs nobody else a point."""
    aftermath = graded[case.title].result()
    assert_contained(case, aftermath, ring.outside.canary)
    if crowded:
        assert_innocents(ring.beside(aftermath.started, aftermath.ended))


def test_titles() -> None:
    """No case hides behind another one's name."""
    titles = [*(case.id for case in (*CASES, *COLD)), *(paper.title for paper in papers.PAPERS)]
    assert len(titles) == len(set(titles)) >= 90
