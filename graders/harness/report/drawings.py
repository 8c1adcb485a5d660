"""What a lesson draws, as markup that cannot do anything: a few elements of SVG and HTML, and numbers for where they are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup, escape

from graders.harness.data.values import Malformed
from graders.harness.report import wording

MAX_LENGTH = 250_000
"""Characters."""
ELEMENTS = {
    "svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "div", "p", "span", "b",
    "ol", "ul", "li",
}  # fmt: skip
ATTRIBUTES = {
    "class", "role", "aria-hidden", "aria-label", "viewBox", "preserveAspectRatio", "d", "points", "x", "y", "x1", "y1", "x2",
    "y2", "dx", "dy", "cx", "cy", "r", "rx", "ry", "width", "height", "transform", "text-anchor", "dominant-baseline", "style",
}  # fmt: skip
_STYLE = re.compile(r"\s*(?:-?[a-z-]+\s*:\s*-?[\d.]+(?:%|px|r?em)?\s*(?:;\s*|$))*")
"""Properties that are numbers: nothing is fetched for one."""


def checked(drawn: str) -> Markup:
    """The markup, written anew; :class:`Malformed` for anything but these elements and attributes.

    It has to be well-formed XML, in which no text can become an element that is not there already, however it was put in.
    """
    if len(drawn) > MAX_LENGTH or "<!" in drawn or "<?" in drawn:
        raise Malformed("a drawing is too long, or declares something")
    try:
        root = ElementTree.fromstring(f"<div>{drawn}</div>")
    except ElementTree.ParseError as error:
        raise Malformed(f"a drawing is not well-formed: {error}") from None
    return _inside(root) if len(root) or (root.text or "").strip() else Markup("")


def _inside(element: ElementTree.Element) -> Markup:
    parts = [_text(element.text)]
    for child in element:
        if child.tag not in ELEMENTS:
            raise Malformed(f"a drawing has the element {child.tag}")
        attributes = Markup("").join(Markup(' {}="{}"').format(*_attribute(*item)) for item in child.items())
        parts += [Markup(f"<{child.tag}"), attributes, Markup(">"), _inside(child), Markup(f"</{child.tag}>")]
        parts.append(_text(child.tail))
    return Markup("").join(parts)


def _attribute(name: str, value: str) -> tuple[str, str]:
    if name not in ATTRIBUTES or (name == "style" and not _STYLE.fullmatch(value)):
        raise Malformed(f"a drawing has the attribute {name}")
    return name, wording.visible(value)


def _text(text: str | None) -> Markup:
    return escape(wording.visible(text or "", "\n" + wording.JOINERS))
