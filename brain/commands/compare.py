"""``brain compare``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import need_torch


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS", help="Run folders of brain train.")],
    out: Annotated[Path, typer.Option(dir_okay=False, metavar="FILE", help="The page.")] = Path("compare.html"),
) -> None:
    """Compare several runs on one page: metrics, recipes, energies, training curves and videos.

    The page is a single file. What a run does not have, such as a judgement or a video, is left out.

    Examples:
      brain compare runs/car-racing runs/wider
      brain compare sweeps/car-racing/*/seed-0 --out sweep.html
    """
    need_torch()
    from brain.reports.compare import write_comparison

    write_comparison(runs, out)
    typer.echo(str(out.resolve()))
