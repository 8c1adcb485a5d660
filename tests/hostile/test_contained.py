"""Every hostile hand-in is graded for real, beside innocent ones, and contained.

The cases are listed in the modules beside this one; what "contained" means is written in `contained.py`.
"""

from concurrent.futures import Future

import pytest

from tests.hostile import amok, exits, files, injections, liars, papers, quotas, spies
from tests.hostile.arena import Arena
from tests.hostile.case import Aftermath, Case
from tests.hostile.contained import assert_contained, assert_innocents, assert_said
from tests.hostile.hand_in import HandIn, Said

CROWDED = (amok, exits, quotas)
"""What is taken or ended here may be the neighbours': innocent hand-ins are graded beside these."""
CASES = [
    pytest.param(case, module in CROWDED, id=case.title)
    for module in (*CROWDED, spies, liars, files, injections)
    for case in module.CASES
]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("paper", papers.PAPERS, ids=lambda paper: paper.title)
def test_paper(graded: dict[str, Future[Said]], ring: Arena, paper: HandIn) -> None:
    """A hostile file is graded right, or refused with a reason and a remedy."""
    assert_said(paper, graded[paper.title].result(), ring.outside.canary)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("case", "crowded"), CASES)
def test_case(graded: dict[str, Future[Aftermath]], ring: Arena, case: Case, crowded: bool) -> None:
    """A hostile notebook does no harm, earns what its honest part deserves, and costs nobody else a point."""
    aftermath = graded[case.title].result()
    assert_contained(case, aftermath, ring.outside.canary)
    if crowded:
        assert_innocents(ring.beside(aftermath.started, aftermath.ended))


def test_titles() -> None:
    """No case hides behind another one's name."""
    titles = [*(case.id for case in CASES), *(paper.title for paper in papers.PAPERS)]
    assert len(titles) == len(set(titles)) >= 45
