"""From a report's parts to one HTML page, with everything in it: no script, and no request of any kind."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.core.report import words

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

    from rdrop_cli.core.report.parts import Report

TEMPLATES = Path(__file__).parent / "templates"


def render(report: Report) -> str:
    """The page."""
    return _environment().get_template("report.html").render(report=report)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["shown"] = shown
    made.filters["svg"] = _trusted
    return made


def shown(text: object) -> Markup:
    """Text of any origin as text: escaped, apart from the direction of what is around it, with codes for what cannot
    be seen.
    """
    from markupsafe import Markup, escape

    made = Markup("").join(
        Markup('<code class="code-point">{}</code>').format(piece) if is_code else escape(piece)
        for piece, is_code in words.pieces(str(text))
    )
    return Markup("<bdi>{}</bdi>").format(made)


def _trusted(svg: str) -> Markup:
    """A picture of `drawing`, whose text is escaped."""
    from markupsafe import Markup

    return Markup(svg)
