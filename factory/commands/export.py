"""``factory export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import LocalStore, Quiet, local_path


def formats() -> list[str]:
    from factory.export import FORMATS

    return FORMATS.names()


def command(
    store: LocalStore,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", autocompletion=formats, help="hdf5, npz, minari or lerobot.")
    ],
    out: Annotated[
        Path, typer.Option(parser=local_path, metavar="PATH", help="File or folder to write; it must not exist.")
    ],
    trust_world: Annotated[
        bool, typer.Option("--trust-world", help="minari: import the module that the store names for its world.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write all episodes of a store in another format, bit for bit.

    hdf5, minari and lerobot need: pip install 'tinyjepa[export]'

    Examples:
      factory export data/car-racing --format hdf5 --out cars.h5
      factory export data/car-racing --format npz --out cars-npz
      factory export data/car-racing --format lerobot --out cars-lerobot
    """
    from rich.console import Console

    from factory.export import export_store

    console = Console(stderr=True)
    with console.status("exporting") as status:

        def progress(done: int) -> None:
            if not quiet:
                status.update(f"exported {done:,} episodes")

        episodes = export_store(store, form, out, progress, trust_world=trust_world)
    typer.echo(f"{out}: {episodes:,} episodes")
