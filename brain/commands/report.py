"""``brain report``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import Pretrained, RunChoice, chosen_run, need_torch


def command(
    given: RunChoice = None,
    name: Pretrained = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, metavar="FILE", show_default="RUN/report.html", help="The page."),
    ] = None,
) -> None:
    """Put everything a run holds on one page: recipe, training curves, energies, calibration, probes, forecasts.

    The page is a single file. Nothing is computed: what the run does not have yet is listed with the command that
    makes it.

    Examples:
      brain report --run runs/car-racing
      brain report --run runs/two-room --out two-room.html
    """
    need_torch()
    run_path = chosen_run(given, name)
    from brain.reports.report import write_report

    out = out or run_path / "report.html"
    for part in write_report(run_path, out):
        typer.echo(
            f"{part.name:10} {part.done}" if part.done else f"{part.name:10} missing: {part.command.splitlines()[-1]}"
        )
    typer.echo(str(out.resolve()))
