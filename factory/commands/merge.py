"""``factory merge``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import local_path


def command(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORES", parser=local_path, help="Directories of the stores to merge.")
    ],
    target: Annotated[
        Path, typer.Option("--into", parser=local_path, metavar="STORE", help="A new or an existing store.")
    ],
) -> None:
    """Merge stores of one world into one, without copying if the file system has hard links.

    Rerun it to resume after an interruption, or to add what was collected since. Episodes that several stores hold
    count once. The sources do not change, and can be deleted afterwards.

    Examples:
      factory merge data/monday data/tuesday --into data/week
      factory merge /mnt/other/cars --into data/car-racing
    """
    from shared.store.merge import merge
    from shared.store.reader import Store

    done = merge(stores, target)
    store = Store(target)
    copied = f", {done.copied:,} files copied ({done.copied_bytes / 1e6:,.1f} MB)" if done.copied else ""
    continued = f"{done.continued} continued, " if done.continued else ""
    typer.echo(
        f"{target}: {store.rows:,} frames in {len(store.episodes):,} episodes of {len(store.runs)} run(s); "
        f"{done.streams} streams added, {continued}{done.present} already there; {done.linked:,} files linked{copied}"
    )
