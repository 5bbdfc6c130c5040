"""The settings of a folder of several runs: what is there must be what is asked for again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain.runs.folder import write_whole
from shared.errors import TinyJEPAError
from shared.store.dataset import is_gone

FILE = "settings.json"


def keep_or_refuse(folder: Path, store: str, settings: Mapping[str, Any], begun: bool) -> None:
    """Keep the address of the ``store`` and the ``settings`` in ``folder``, which is made if need be.

    Where runs have ``begun`` under others, raises ``TinyJEPAError``: their figures would answer another question. A
    store that is no longer where it was has moved. A folder without the file, of an earlier version, takes these.
    """
    file = folder / FILE
    wanted = {"store": store, **json.loads(json.dumps(settings))}
    kept: Any = None
    if begun and file.exists():
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            differ = [key for key in wanted if kept.get(key) != wanted[key]]
        except (ValueError, AttributeError) as error:
            raise TinyJEPAError(f"{file} is damaged ({error}): remove it") from None
        if differ == ["store"] and is_gone(str(kept.get("store"))):
            differ = []
        if differ:
            then, now = (value.get(differ[0]) or "none" for value in (kept, wanted))
            raise TinyJEPAError(
                f"{folder} was made with another {differ[0]} ({then}, not {now}): give another --out, or the same"
            )
    folder.mkdir(parents=True, exist_ok=True)
    if kept != wanted:
        write_whole(file, json.dumps(wanted, indent=1) + "\n")
