"""Where on the way from noise to picture an adapter acts, as curves over the timesteps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graders.harness.measured import Number, Table
from graders.harness.report.charts import Plot, plot

MAX_PARTS = 24
"""Of the schedule; the checks make tables of fewer."""


def curves(parts: Mapping[str, Table]) -> Plot | None:
    """What :class:`graders.lora.measures.denoising.Profile` holds, in percent, a curve for each rank; None for nothing."""
    tables = {part: table for part, table in parts.items() if 2 <= len(table.get("timestep", [])) <= MAX_PARTS}
    middles = next((table["timestep"] for table in tables.values()), [])
    names = [f"t = {middle:.0f}" for middle in middles if middle is not None]
    shares = {
        part: table.get("difference", [])[: len(names)]
        for part, table in tables.items()
        if table["timestep"] == middles
    }
    percent = {part: [None if value is None else 100 * value for value in some] for part, some in shares.items()}
    return plot(percent, names=names, unit=" %", tell=lambda curve: _told(curve, names)) if names else None


def _told(curve: Sequence[Number], names: Sequence[str]) -> str:
    """What the curve begins and ends with, and where it is highest if that is in between."""
    known = [(name, value) for name, value in zip(names, curve, strict=False) if value is not None]
    ends = dict.fromkeys((known[0], known[-1]))
    highest = max(known, key=lambda point: point[1])
    said = ", ".join(f"{value:.3g} % at {name}" for name, value in ends)
    return said if highest in ends else f"{said}; most, {highest[1]:.3g} %, at {highest[0]}"
