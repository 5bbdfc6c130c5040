"""``metrics.jsonl``, the training curves of a run: a JSON object a line, with ``stage`` and ``step``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TAIL_BYTES = 64 << 10
"""Of a long file, where the newest line is looked for."""


def entries(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line with what it says, in order; without lines that a kill cut short and those that are not ours."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict) and isinstance(entry.get("stage"), str) and isinstance(entry.get("step"), int):
                yield line, entry


def read_metrics(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines by stage, in the file's order; none where there is no file."""
    stages: dict[str, list[dict[str, Any]]] = {}
    if path.is_file():
        for _, entry in entries(path.read_text(encoding="utf-8", errors="replace")):
            stages.setdefault(entry["stage"], []).append(entry)
    return stages


def newest(path: Path) -> dict[str, Any]:
    """The stage and the numbers of the newest line; empty where there is none."""
    if not path.exists():
        return {}
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        tail = file.read().decode("utf-8", errors="replace")
    last: dict[str, Any] = {}
    for _, last in entries(tail):  # noqa: B007 - the last one is wanted
        pass
    return {key: value for key, value in last.items() if isinstance(value, int | float) or key == "stage"}
