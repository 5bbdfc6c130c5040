"""Untrusted folders: writes into them must not leave them."""

from __future__ import annotations

from pathlib import Path

from shared.errors import TinyJEPAError


def refuse_links(folder: Path) -> None:
    """Raise ``TinyJEPAError`` where an entry of ``folder`` is a symbolic link: writing to it would write elsewhere."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink():
            raise TinyJEPAError(
                f"{entry} is a symbolic link, and what is written there would land elsewhere: remove it, "
                "or link the whole folder instead"
            )
