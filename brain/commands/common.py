"""What several subcommands of ``brain`` share."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import TinyJEPAError
from shared.store.source import URL

if TYPE_CHECKING:
    from brain.runs.folder import Run
    from shared.store.reader import Store


class Duration(click.ParamType):
    """Seconds: a number, or a number with s, m or h."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        if not match or float(match[1]) <= 0:
            self.fail(f"'{value}' is no positive duration: write 90s, 10m or 1.5h", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


class StorePlace(click.ParamType):
    """A directory, or a URL such as ``s3://bucket/path``, which stays text."""

    name = "path"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        text = str(value)
        return text if URL.match(text) else Path(text)


def default_store(recipe: str = "") -> Path:
    """``DATA/WORLD``, where ``factory collect`` writes; DATA is ``$TINYJEPA_DATA`` or ``data``.

    WORLD is the one that the recipe's name begins with (``two-room-gru``: ``two-room``), else ``car-racing``.
    """
    from shared.worlds import WORLDS

    world = next((name for name in WORLDS if recipe.startswith(name)), "car-racing")
    return Path(os.environ.get("TINYJEPA_DATA") or "data") / world


def need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise TinyJEPAError("torch is not installed on this box: pip install 'tinyjepa[brain]'") from None


def show_summary(run_path: Path) -> None:
    report = run_path / "report.html"
    if report.exists():
        from brain.runs.figures import headline

        for line in headline(run_path):
            click.echo(line)
        click.echo(f"report: {report.resolve()}")


def open_store(run: Run, place: Path | str | None) -> Store:
    """The store at ``place``, or the one a run was trained on, as its recipe sees it; refused where it shows another
    world."""
    from brain.data.state_mode import reader, standardise
    from brain.runs.folder import check_fit

    facts = run.facts()
    opened = reader(run.recipe())(place or facts["store"])
    check_fit(facts, opened.spec, str(opened.path), "give its --store")
    standardise(opened, run)
    return opened
