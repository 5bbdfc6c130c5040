"""``factory preview``"""

from __future__ import annotations

from pathlib import Path

import click

from shared.cli.console import LocalPath


@click.command()
@click.argument("store", type=LocalPath())
@click.option("--out", type=LocalPath(), help="Directory for the files.  [default: STORE/preview]")
def command(store: Path, out: Path | None) -> None:
    """Draw a contact sheet (PNG), a video (MP4) of a few episodes of a STORE, and where its data lie (PNG).

    \b
    Examples:
      factory preview data/car-racing
      factory preview data/car-racing --out pictures
    """
    from factory.inspection.preview import preview as draw

    for file in draw(store, out or store / "preview"):
        click.echo(str(file))
