"""``factory edit``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import LocalStore, Quiet, local_path


def command(
    store: LocalStore,
    into: Annotated[
        Path, typer.Option(parser=local_path, metavar="DIR", help="The new store for the episodes that are kept.")
    ],
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="CHOICE", help="Keep episodes that meet this, and each other --keep. Repeatable."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="CHOICE", help="Drop episodes that meet this. Repeatable.")
    ] = None,
    rest: Annotated[
        Path | None,
        typer.Option(parser=local_path, metavar="DIR", help="A second new store, for the episodes that are not kept."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Copy episodes of a store, selected by number, length, return, policy or factor, into a new store.

    A CHOICE is a list of episode numbers (0-9,12) or a condition: steps, return, policy or a factor of variation
    (friction, road_colour[0]), compared by <, <=, >, >=, = or !=. Episodes keep their numbers and thereby their
    split. The store itself does not change.

    Examples:
      factory edit data/pusht --drop 3,17 --into data/pusht-clean
      factory edit data/cars --keep 'return>=100' --into data/good
      factory edit data/cars --keep policy=pursuit --into data/a --rest data/b
      factory edit data/cars-varied --keep 'friction<0.8' --into data/slippery
    """
    from rich.console import Console

    from factory.inspection.factors import values_of
    from shared.store.edit import edit
    from shared.store.reader import Store

    values = values_of(Store(store).spec)
    console = Console(stderr=True)
    with console.status("choosing episodes") as status:

        def show(done: int, total: int) -> None:
            if not quiet:
                status.update(f"{done:,} of {total:,} episodes written")

        edit(store, into, keep or [], drop or [], rest, show, values)
    for place in (into, rest):
        if place is not None:
            written = Store(place)
            typer.echo(f"{place}: {len(written.episodes):,} episodes, {written.rows:,} frames")
