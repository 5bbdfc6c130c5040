"""``factory status``"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
def command(store: Path) -> None:
    """Show what is in a STORE: frames, splits, policies, size, and what of the state space they cover.

    \b
    Examples:
      factory status data/car-racing
    """
    from factory.status import status_lines

    for line in status_lines(store):
        click.echo(line)
