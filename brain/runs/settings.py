"""The settings of a folder of several runs: what is there must be what is asked for again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brain.runs.folder import write_whole
from shared.errors import TinyJEPAError

FILE = "settings.json"


def keep_or_refuse(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep ``settings`` in ``folder``, which is made if need be.

    Raises ``TinyJEPAError`` where other settings are kept there: its figures would answer another question. A folder
    without the file, of an earlier version, takes these.
    """
    file = folder / FILE
    wanted = json.loads(json.dumps(settings))
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        differ = [key for key in wanted if kept.get(key) != wanted[key]]
    except (ValueError, AttributeError) as error:
        raise TinyJEPAError(f"{file} is damaged ({error}): remove it") from None
    if differ:
        key = differ[0]
        then, now = (value.get(key) or "none" for value in (kept, wanted))
        raise TinyJEPAError(
            f"{folder} was made with another {key} ({then}, not {now}): give another --out, or the same"
        )
