"""Rendering templates to pages that share one look and need no other file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from brain.reports.figures import title
from brain.reports.style import COLOURS
from brain.runs.figures import figure_text


def render(template: Path, **values: Any) -> str:
    """The page of a template that extends ``base.html``, which gives it head and look.

    Filters: ``figure`` (a number as people read it), ``title`` (a kind of impossible future), ``percent`` (a share),
    ``words`` (a name without underscores). Raises ``jinja2.UndefinedError`` for a value that the template asks for and
    does not get.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "figure": figure_text,
        "title": title,
        "percent": _percent,
        "words": lambda name: name.replace("_", " "),
    }
    return environment.get_template(template.name).render(colours=COLOURS, **values)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
