"""What course notebooks import beside what the exercises need is there for them."""

from __future__ import annotations

import json

import pytest

from graders.harness.run.sandbox import Isolation
from tests.harness.run.conftest import Runner

pytest.importorskip("matplotlib")
pytest.importorskip("ipywidgets")
CELLS = (
    "%matplotlib inline\nimport matplotlib, matplotlib.pyplot as plt\nplt.plot([1, 2], label='ü')\nplt.title('loss')\nplt.show()",
    "import ipywidgets, pandas, scipy.stats\nfrom tqdm.notebook import tqdm\n"
    "x = pandas.Series({r: r for r in tqdm((4, 16))}).to_dict()\nipywidgets.IntSlider()",
    "from matplotlib import font_manager\nbuilt = font_manager.fontManager is not None",
)


def test_figures_tables_and_widgets(run_cells: Runner, isolation: Isolation) -> None:
    """A notebook draws without a display, has progress bars and tables, and its figures are among its outputs."""
    evidence = run_cells(*CELLS, hand_in={"x": "value", "built": "value"})
    assert evidence.run.ended == "completed", evidence.run.reason
    assert evidence.value("x") == {4: 4, 16: 16}
    executed = json.loads((evidence.folder / "evidence" / "executed.ipynb").read_text())
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any("font cache" in str(output) for output in outputs)
