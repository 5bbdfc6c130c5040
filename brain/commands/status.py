"""``brain status``"""

from __future__ import annotations

from typing import Annotated

import typer

from brain.commands.common import RunFolder
from shared.errors import TinyJEPAError

WATCHING = "Watching"
"""Panel of options."""


def command(
    run_path: RunFolder,
    watching: Annotated[bool, typer.Option("--watch", rich_help_panel=WATCHING, help="Refresh until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", rich_help_panel=WATCHING, help="Time between two refreshes.")
    ] = 5.0,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="PORT", rich_help_panel=WATCHING, help="Serve Prometheus metrics on 127.0.0.1."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each refresh as a JSON object.")] = False,
) -> None:
    """Show the progress of a training run: stage, step, loss, effective rank, frames behind, GPU use, time left.

    It only reads the run folder, so it can run on any machine that sees it.

    Examples:
      brain status --run runs/car-racing
      brain status --run runs/car-racing --watch --metrics-port 9202
    """
    if metrics_port is not None and not watching:
        raise TinyJEPAError("--metrics-port needs --watch: add it")
    from brain.runs.status import lines, look
    from shared.cli.watch import watch

    watch(
        "brain",
        lambda: look(run_path),
        lambda facts: lines(run_path, facts),
        every=every,
        port=metrics_port,
        as_json=as_json,
        looks=None if watching else 1,
    )
