"""What draws this lesson's diagrams: templates, in which no text becomes markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from graders.harness import measured
from graders.harness.exhibits import Drawer
from graders.harness.measured import Table
from graders.lora.figures import gradients, unet

_HERE = Path(__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def drawers() -> Mapping[str, Drawer]:
    """Each by the name that diagrams have for it."""
    style = (_HERE / "figures.css").read_text(encoding="utf-8")
    return {name: Drawer(draw, style) for name, draw in (("unet", _unet), ("gradients", _gradients))}


def _unet(data: Any) -> str:
    return _drawn("unet.html", unet.drawing, data)


def _gradients(data: Any) -> str:
    return _drawn("gradients.html", gradients.chart, data)


def _drawn(template: str, make: Callable[[Table], object | None], data: Any) -> str:
    """The drawing of what is made of a table; "" if there is nothing in it."""
    made = make(measured.tables({"": data}).get("", {}))
    return _TEMPLATES.get_template(template).render(drawing=made) if made else ""
