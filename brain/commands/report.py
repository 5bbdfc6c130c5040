"""``brain report``"""

from __future__ import annotations

from pathlib import Path

import click

from brain.commands.common import need_torch

EXAMPLES = """\b
Examples:
  brain report --run runs/car-racing
  brain report --run runs/two-room --out two-room.html"""


@click.command(epilog=EXAMPLES)
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The page. [RUN/report.html]")
def command(run_path: Path, out: Path | None) -> None:
    """Put all that a run folder holds on one page: recipe, training curves, energies, calibration, probes, dreams.

    One file that needs no other. Nothing is computed: what the run does not have yet is named, with the command that
    makes it.
    """
    need_torch()
    from brain.reports.report import write_report

    out = out or run_path / "report.html"
    for part in write_report(run_path, out):
        click.echo(
            f"{part.name:10} {part.done}" if part.done else f"{part.name:10} missing: {part.command.splitlines()[-1]}"
        )
    click.echo(str(out.resolve()))
