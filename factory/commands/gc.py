"""``factory gc``"""

from __future__ import annotations

from pathlib import Path

import click

from shared.cli.console import LocalPath


@click.command()
@click.argument("store", type=LocalPath())
@click.option("--dry-run", is_flag=True, help="List what would go; remove nothing.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Leave alone what was touched since, where it cannot be known whether its writer lives.",
)
@click.option(
    "--stream", "named", multiple=True, metavar="NAME", help="Remove this stream, which lost its log; may be repeated."
)
def command(store: Path, dry_run: bool, older_than: float, named: tuple[str, ...]) -> None:
    """Remove what killed writers left in a STORE: only what no log mentions and nobody is writing.

    Of a writer on this machine it is known whether it lives. Of one on another machine, or a stream that never got
    a log, only what was not touched for a day goes. A stream that has complete shards and lost its log stays, unless
    --stream names it.

    \b
    Examples:
      factory gc data/car-racing --dry-run
      factory gc data/car-racing
    """
    from shared.store.gc import leftovers, remove

    found = leftovers(store, older_than * 3600, named)
    for leftover in found:
        click.echo(f"{leftover.path.relative_to(store)}: {leftover.why}, {leftover.bytes:,} bytes")
    freed = sum(leftover.bytes for leftover in found) if dry_run else remove(found)
    verb = "would free" if dry_run else "freed"
    click.echo(f"{store}: {verb} {freed / 1e6:,.1f} MB in {len(found)} places")
