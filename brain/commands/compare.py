"""``brain compare``"""

from __future__ import annotations

from pathlib import Path

import click

from brain.commands.common import need_torch

EXAMPLES = """\b
Examples:
  brain compare runs/car-racing runs/wider
  brain compare sweeps/car-racing/*/seed-0 --out sweep.html"""


@click.command(epilog=EXAMPLES)
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="compare.html",
    show_default=True,
    help="The page.",
)
def command(runs: tuple[Path, ...], out: Path) -> None:
    """Lay RUNS side by side on one page: figures, recipes, energies, training curves and films.

    One file that needs no other. What a run does not have (a judgement, a film) is left out.
    """
    need_torch()
    from brain.reports.compare import write_comparison

    write_comparison(runs, out)
    click.echo(str(out.resolve()))
