"""``factory status``"""

from __future__ import annotations

from typing import Annotated

import typer

from shared.cli.options import LocalStore, count
from shared.errors import TinyJEPAError

WATCHING = "Watching"
"""Panel of options."""


def command(
    store: LocalStore,
    watching: Annotated[
        bool,
        typer.Option("--watch", rich_help_panel=WATCHING, help="Refresh until Ctrl-C: rates, writers and time left."),
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", rich_help_panel=WATCHING, help="Time between two refreshes.")
    ] = 5.0,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=count, metavar="N", rich_help_panel=WATCHING, help="Goal from which the time left is estimated."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", rich_help_panel=WATCHING, help="Print each refresh as a JSON object.")
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, metavar="PORT", rich_help_panel=WATCHING, help="Serve Prometheus metrics on 127.0.0.1."
        ),
    ] = None,
) -> None:
    """Show what a store holds: frames, splits, policies, size and state-space coverage.

    Examples:
      factory status data/car-racing
      factory status data/car-racing --watch --frames 1000000
      factory status data/car-racing --watch --metrics-port 9201
    """
    if not watching and (as_json or frames or metrics_port is not None):
        raise TinyJEPAError("--frames, --json and --metrics-port need --watch: add it")
    if watching:
        from factory.inspection.watching import Collection
        from shared.cli.watch import watch

        seen = Collection(store, frames)
        watch("factory", seen.look, seen.lines, every=every, port=metrics_port, as_json=as_json)
        return
    from factory.inspection.status import status_lines

    for line in status_lines(store):
        typer.echo(line)
