"""The user's home directory, which a container's numeric user may not have."""

from __future__ import annotations

from pathlib import Path


def home() -> Path | None:
    """``$HOME``, else what the user database says; None where neither knows one."""
    try:
        return Path.home()
    except RuntimeError:
        return None
