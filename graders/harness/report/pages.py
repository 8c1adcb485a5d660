"""HTML pages that open anywhere: one file each, with no script and nothing to fetch, in which no text becomes markup."""

from __future__ import annotations

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from graders.harness.report import wording
from graders.harness.report.reading import named, reading, together

_BOLD = re.compile(r"\*\*([^*`]+|[^*]*`[^`]*`[^*]*)\*\*")


def prose(text: str) -> Markup:
    """Text with what stands between backticks as code; anything else in it stays text."""
    parts = wording.CODE.split(wording.visible(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def said(text: str, limit: int = 1500) -> Markup:
    """The same for a student's page: without the paths of the machine, and not without end."""
    return prose(wording.for_student(text, limit))


def lesson(text: str) -> Markup:
    """A question or a model answer of the course, which is Markdown: its paragraphs and items, bold letters and code."""
    made = []
    for block in re.split(r"\n(?:\s*\n|(?=[-*] |\d+\. ))", text.strip()):
        parts = _BOLD.split(" ".join(re.sub(r"^#+ *(.*)", r"**\1**", block).split()))
        made.append(
            Markup("").join(Markup("<b>{}</b>").format(prose(p)) if i % 2 else prose(p) for i, p in enumerate(parts))
        )
    return Markup("").join(Markup("<p>{}</p>").format(part) for part in made)


def written(text: str, limit: int) -> Markup:
    """What a person wrote, as it was written; what is cut is said to be in full in the CSV file."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    cut = (
        text
        if len(text) <= limit
        else f"{text[:limit]}…\n\n[{len(text) - limit:,} more characters: shown in full in the CSV file]"
    )
    return escape(wording.visible(cut, keep="\n\t" + wording.JOINERS))


def _shown(value: object) -> object:
    """Whatever a template shows without a filter: a text may come from anywhere."""
    return wording.visible(value, "\n" + wording.JOINERS) if type(value) is str else value


def _number(value: float) -> str:
    """With two decimals at most, and none that say nothing."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "prose": prose,
        "said": said,
        "plain": wording.for_student,
        "lesson": lesson,
        "written": written,
        "number": _number,
    }
    environment.globals |= {"wording": wording, "reading": reading, "named": named, "together": together}
    return environment


ENVIRONMENT = _environment()


def render(template: str, **facts: object) -> str:
    """The page that a template makes of the facts."""
    return ENVIRONMENT.get_template(template).render(facts)
