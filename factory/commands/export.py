"""``factory export``"""

from __future__ import annotations

from pathlib import Path

import click

from shared.cli.console import LocalPath


@click.command()
@click.argument("store", type=LocalPath())
@click.option("--format", "form", required=True, help="hdf5, npz or minari.")
@click.option("--out", required=True, type=LocalPath(), help="File or folder to write; must not exist.")
@click.option("--trust-world", is_flag=True, help="minari: import the module that the store names for its world.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(store: Path, form: str, out: Path, trust_world: bool, quiet: bool) -> None:
    """Write all episodes of a STORE in another format, bit for bit.

    Needs pip install 'tinyjepa[export]' for hdf5 and minari.

    \b
    Examples:
      factory export data/car-racing --format hdf5 --out cars.h5
      factory export data/car-racing --format minari --out ~/.minari/datasets/tinyjepa/car-racing-v0
    """
    from rich.console import Console

    from factory.export import export_store

    console = Console(stderr=True)
    with console.status("exporting") as status:

        def progress(done: int) -> None:
            if not quiet:
                status.update(f"exported {done:,} episodes")

        episodes = export_store(store, form, out, progress, trust_world=trust_world)
    click.echo(f"{out}: {episodes:,} episodes")
