"""The user's home directory, which a container's numeric user may not have."""

from __future__ import annotations

from pathlib import Path


def home() -> Path | None:
    """``$HOME``, else the entry in the user database; None if there is neither."""
    try:
        return Path.home()
    except RuntimeError:
        return None
