"""``factory preview``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import LocalStore, local_path


def command(
    store: LocalStore,
    out: Annotated[
        Path | None,
        typer.Option(parser=local_path, metavar="DIR", show_default="STORE/preview", help="Directory of the files."),
    ] = None,
) -> None:
    """Draw a contact sheet (PNG), a video of a few episodes (MP4) and maps of the state-space coverage (PNG).

    Examples:
      factory preview data/car-racing
      factory preview data/car-racing --out pictures
    """
    from factory.inspection.preview import preview as draw

    for file in draw(store, out or store / "preview"):
        typer.echo(str(file))
