"""``factory merge``"""

from __future__ import annotations

from pathlib import Path

import click

from shared.cli.console import LocalPath


@click.command()
@click.argument("stores", nargs=-1, required=True, type=LocalPath())
@click.option("--into", "target", required=True, type=LocalPath(), help="New or existing store.")
def command(stores: tuple[Path, ...], target: Path) -> None:
    """Join STORES of one world into one, without copying where the disk has hard links.

    Run it again after an interruption, or to take in what was collected since. Episodes that several stores hold
    count once. The sources stay as they are, and can be deleted afterwards.

    \b
    Examples:
      factory merge data/monday data/tuesday --into data/week
      factory merge /mnt/other/cars --into data/car-racing
    """
    from shared.store.merge import merge
    from shared.store.reader import Store

    done = merge(stores, target)
    store = Store(target)
    copied = f", {done.copied:,} files copied ({done.copied_bytes / 1e6:,.1f} MB)" if done.copied else ""
    click.echo(
        f"{target}: {store.rows:,} frames in {len(store.episodes):,} episodes of {len(store.runs)} run(s); "
        f"{done.streams} streams added, {done.present} were there; {done.linked:,} files linked{copied}"
    )
