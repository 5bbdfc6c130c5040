"""Damaged shards in quarantine: ``quarantine.json``, and the files themselves under ``quarantine/``.

``quarantine.json`` holds ``{"shards": {stream: [numbers]}, "checksum"}``. A reader leaves out the episodes that touch a
shard named there, so training goes on, and ``factory collect`` finds those episodes missing and makes them again.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import StoreError
from shared.links import refuse_links
from shared.store import layout
from shared.store.codec import crc32c
from shared.store.files import sync_directory, write_file
from shared.store.schema import EpisodeRef, StoreSpec
from shared.store.source import Source

LIST = "quarantine.json"
FOLDER = "quarantine"

SetAside = Mapping[str, frozenset[int]]
"""Stream to the numbers of its shards that are set aside."""


def load(source: Source) -> SetAside:
    """The quarantined shards of a store; empty without a list. Raises ``StoreError`` for a damaged one."""
    try:
        document: Any = json.loads(source.read(LIST))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError, RecursionError) as error:
        raise StoreError(f"{source.name(LIST)} cannot be read ({error}): restore it from a copy") from error
    shards = document.get("shards") if isinstance(document, dict) else None
    if not isinstance(shards, dict) or document.get("checksum") != _checksum(shards):
        raise StoreError(f"{source.name(LIST)} is damaged (its checksum does not match): restore it from a copy")
    if not all(isinstance(numbers, list) and all(type(n) is int for n in numbers) for numbers in shards.values()):
        raise StoreError(f"{source.name(LIST)} is not ours: it names no shards: restore it from a copy")
    return {stream: frozenset(numbers) for stream, numbers in shards.items()}


def save(path: Path, aside: SetAside) -> None:
    """Replace the list of the store at ``path``."""
    refuse_links(path)
    shards = {stream: sorted(numbers) for stream, numbers in sorted(aside.items()) if numbers}
    text = json.dumps({"shards": shards, "checksum": _checksum(shards)}, indent=1) + "\n"
    write_file(path / LIST, [text.encode()])
    sync_directory(path)


def touches(aside: SetAside, ref: EpisodeRef, spec: StoreSpec) -> bool:
    """Whether an episode has rows in a shard that is set aside."""
    numbers = aside.get(ref.stream)
    if not numbers:
        return False
    first, last = ref.first // spec.shard_rows, (ref.first + ref.rows - 1) // spec.shard_rows
    return any(first <= number <= last for number in numbers)


def set_aside(path: Path, spec: StoreSpec, before: SetAside, shards: Mapping[str, set[int]]) -> SetAside:
    """List the shards, then move their files out of the hierarchy; returns all that is set aside now.

    What was set aside earlier under the same name stays. The list is written first: a crash in between leaves files
    where they were, and nobody reads them.
    """
    after = {stream: before.get(stream, frozenset()) | shards.get(stream, set()) for stream in {*before, *shards}}
    save(path, after)
    for stream, numbers in shards.items():
        for name, field in layout.fields(spec).items():
            for number in numbers:
                source = layout.stream_directory(path, stream) / name / field.chunk_key(number)
                target = path / FOLDER / stream / name / source.name
                if source.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.rename(_free(target))
    return after


def cut_log(path: Path, stream: str, good: int) -> None:
    """Keep the first ``good`` bytes of a damaged log; a copy of all of it goes to ``quarantine/``."""
    refuse_links(path)
    replace_log(path, stream, layout.log_file(path, stream).read_bytes()[:good])


def replace_log(path: Path, stream: str, text: bytes) -> None:
    """Write the log of a stream anew; what it held is copied to ``quarantine/`` first, beside earlier copies.

    ``OSError`` when the disk refuses; the log is as it was then.
    """
    log = layout.log_file(path, stream)
    kept = path / FOLDER / log.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_file(_free(kept), [log.read_bytes()])
    sync_directory(kept.parent)
    write_file(log, [text])
    sync_directory(log.parent)


def _free(place: Path) -> Path:
    """``place``, with a number after its name where something lies there."""
    numbered = (place.with_name(f"{place.name}.{number}") for number in itertools.count(1))
    return next(free for free in itertools.chain([place], numbered) if not os.path.lexists(free))


def _checksum(shards: dict[str, Any]) -> int:
    return crc32c(json.dumps(shards, sort_keys=True, separators=(",", ":")).encode())
