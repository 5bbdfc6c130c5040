"""``factory gc``"""

from __future__ import annotations

from typing import Annotated

import typer

from shared.cli.options import LocalStore


def command(
    store: LocalStore,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed; remove nothing.")] = False,
    older_than: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="HOURS",
            help="Minimum age of files of writers whose state is unknown: those elsewhere, or before a restart.",
        ),
    ] = 24.0,
    named: Annotated[
        list[str] | None,
        typer.Option("--stream", metavar="NAME", help="Remove this stream, which lost its log. Repeatable."),
    ] = None,
) -> None:
    """Remove what killed writers left in a store: files that no log mentions and no writer uses.

    For a writer on this machine it is known whether it still runs. Files of a writer on another machine, in another
    container or from before a restart, and streams without a log, are removed only after 24 hours without a change. A
    stream that has complete shards and lost its log stays, unless --stream names it.

    Examples:
      factory gc data/car-racing --dry-run
      factory gc data/car-racing
    """
    from shared.store.gc import leftovers, remove

    found = leftovers(store, older_than * 3600, named or ())
    for leftover in found:
        typer.echo(f"{leftover.path.relative_to(store)}: {leftover.why}, {leftover.bytes:,} bytes")
    freed = sum(leftover.bytes for leftover in found) if dry_run else remove(found)
    verb = "would free" if dry_run else "freed"
    typer.echo(f"{store}: {verb} {freed / 1e6:,.1f} MB in {len(found)} places")
