"""Rows that no log lists any more, because a log was deleted, emptied or truncated.

A writer opens its log before its first shard and commits a shard before the next, so complete shards that the log does
not know are either its last, uncommitted one, or rows whose log lines are lost. The Zarr documents tell the two apart:
they are written after the log, so they never show a row that was not committed.
"""

from __future__ import annotations

import json

from shared.store import layout
from shared.store.schema import StoreSpec
from shared.store.source import Source

DOCUMENT = "zarr.json"


def shown_rows(source: Source, spec: StoreSpec, stream: str) -> int:
    """The most rows that one of the stream's Zarr documents shows, 0 where none can be read."""
    shown = 0
    for name in layout.fields(spec):
        try:
            rows = json.loads(source.read(layout.DATA, stream, name, DOCUMENT))["shape"][0]
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            continue
        if type(rows) is int:
            shown = max(shown, rows)
    return shown


def has_shard(source: Source, spec: StoreSpec, stream: str, shard: int) -> bool:
    """Whether every field has its file of that shard."""
    fields = layout.fields(spec)
    return all(source.has(layout.DATA, stream, name, fields[name].chunk_key(shard)) for name in fields)


def without_log(source: Source, spec: StoreSpec, streams: list[str], logs: set[str], begun: set[str]) -> list[str]:
    """Those of the ``streams`` that have a complete shard, or show rows, and no log with a first line.

    ``logs`` are the file names in the log folder: a merge that was killed leaves an unfinished one, and its source has
    the rows. ``begun`` are the streams whose log has its first line.
    """
    unfinished = {name.partition(".jsonl.")[0] for name in logs if ".jsonl." in name}
    return [
        name
        for name in sorted(set(streams) - begun - unfinished)
        if has_shard(source, spec, name, 0) or shown_rows(source, spec, name)
    ]


def lost_lines(source: Source, spec: StoreSpec, stream: str, shards: int, rows: int) -> int:
    """Rows that the stream shows beyond the ``rows`` in ``shards`` shards of its log, where their files are there."""
    shown = shown_rows(source, spec, stream)
    return shown - rows if shown > rows and has_shard(source, spec, stream, shards) else 0


def cure(stream: str, lines: bool = False) -> str:
    """Advice for a stream that lost its log, or only ``lines`` of it: then ``factory gc`` does not remove it."""
    restore, anew = f"restore log/{layout.log_name(stream)} from a copy", f"factory verify --rebuild-log {stream}"
    if lines:
        return f"{restore}, or make it anew with {anew}"
    return f"{restore}, make it anew with {anew}, or remove the stream with factory gc --stream {stream}"
