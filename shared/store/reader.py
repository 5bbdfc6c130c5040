"""Reading a store: complete episodes, read directly from the files listed in the commit log."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from shared.errors import StoreError, UnreachableError
from shared.store import layout, lost, quarantine
from shared.store.dataset import load_spec
from shared.store.log import STREAM_NAME, CommittedStream
from shared.store.schema import EpisodeRef, RunSpec, Split, StoreSpec
from shared.store.shards import Cache, Chunk, CommittedFile, Shard
from shared.store.source import Source, locate

OPEN_SHARDS = 256
"""Frame shards kept open per store (one file descriptor each)."""

CACHED_CHUNK_BYTES = 128 << 20
"""Decoded chunks of the small fields kept per store."""


OnCorrupt = Literal["raise", "skip"]


class Store:
    """A store, open for reading. Everything is thread-safe; only the commit log is believed.

    Bytes that contradict the log raise ``DamageError`` naming stream, file and rows: a missing, truncated,
    altered or exchanged file is never served. A damaged log raises ``StoreError``, or, with ``on_corrupt="skip"``,
    ends its stream at the last good line. A lost log raises ``StoreError`` at the opening, or is skipped likewise.
    """

    spec: StoreSpec
    streams: dict[str, CommittedStream]
    """Every stream by name: rows, shards, header, whether it is closed."""
    damaged_logs: dict[str, str]
    """Streams whose log is damaged, and how; only where damage is skipped."""
    lost_logs: list[str]
    """Streams that had complete shards and no log at the opening; only where damage is skipped."""
    path: Path | str
    """The directory or URL it was opened with."""
    source: Source
    """The source of its bytes."""
    set_aside: quarantine.SetAside
    """Damaged shards by stream, as of the opening: their episodes are not among ``episodes``."""
    readers: int
    """Recommended number of reading threads."""

    def __init__(self, path: str | Path, on_corrupt: OnCorrupt = "raise") -> None:
        """``path`` is a directory or a URL, such as ``s3://bucket/path``.

        Raises ``MissingStoreError`` when there is no store, ``StoreError`` when it is foreign, newer or damaged, or
        when a stream has complete shards but no log, so that its rows could not be seen.
        """
        self.source = locate(path)
        self.path = path
        self.readers = self.source.readers
        self.on_corrupt = on_corrupt
        self.damaged_logs = {}
        self._dataset = load_spec(self.source)
        self.spec = self._dataset.spec
        self.set_aside = quarantine.load(self.source)
        self._episodes: list[EpisodeRef] | None = None
        self.streams = {}
        self._fields = layout.fields(self.spec)
        self._known: dict[tuple[RunSpec, int], EpisodeRef] = {}
        self._merged: dict[str, int] = {}
        self._left_out: set[tuple[RunSpec, int]] = set()
        self._refreshing = threading.Lock()
        self._shards: Cache[Shard] = Cache(OPEN_SHARDS, lambda shard: 1)
        self._chunks: Cache[Chunk] = Cache(CACHED_CHUNK_BYTES, lambda chunk: chunk.rows.nbytes)
        folders = [name for name in self.source.streams() if STREAM_NAME.fullmatch(name)]
        self.refresh()  # after the folders were listed: a stream has its log before its first shard
        self.lost_logs = self._find_lost(folders)

    def _find_lost(self, folders: list[str]) -> list[str]:
        begun = {name for name, stream in self.streams.items() if stream.header or name in self.damaged_logs}
        if begun.issuperset(folders):
            return []
        found = lost.without_log(self.source, self.spec, folders, set(self.source.logs()), begun)
        if found and self.on_corrupt == "raise":
            more = f" (and {len(found) - 1} more streams)" if len(found) > 1 else ""
            raise StoreError(
                f"{self.path}: stream {found[0]}{more} has complete shards but no log, so its rows would not be seen: "
                f"{lost.cure(found[0])}"
            )
        self.damaged_logs |= dict.fromkeys(found, "it has complete shards but no log")
        return found

    def refresh(self) -> int:
        """Take in what was committed since; returns the number of new episodes.

        Looks at open logs only: the cost does not grow with what is already there. Raises ``StoreError``
        with file and line for a damaged log, ``UnreachableError`` for one that cannot be read now; what was known stays
        readable.
        """
        with self._refreshing:
            before = len(self._known)
            sizes = self._logs()
            for name in sorted(sizes.keys() - self.streams.keys()):
                self.streams[name] = CommittedStream(self.source, name, self._dataset)
            try:
                for name, stream in self.streams.items():
                    if name in self.damaged_logs:
                        continue
                    try:
                        stream.poll(sizes.get(name))
                    except StoreError as error:
                        if self.on_corrupt == "raise":
                            raise
                        self.damaged_logs[name] = str(error)
            finally:
                self._merge()
            return len(self._known) - before

    @property
    def episodes(self) -> list[EpisodeRef]:
        """Complete committed episodes, by run and index, each once. Sorted when first asked for after a change.

        When an episode was made twice (a worker died and another made it again), the one in the stream with the lowest
        name counts.
        """
        with self._refreshing:
            if self._episodes is None:
                self._episodes = [self._known[key] for key in sorted(self._known.keys() - self._left_out)]
            return self._episodes

    @property
    def rows(self) -> int:
        """Rows of ``episodes``."""
        return sum(ref.rows for ref in self.episodes)

    def split(self, name: Split) -> list[EpisodeRef]:
        """The episodes of one split, by run and index."""
        return [ref for ref in self.episodes if ref.split == name]

    def leave_out(self, refs: Iterable[EpisodeRef]) -> None:
        """Exclude episodes from ``episodes``, for this reader."""
        with self._refreshing:
            self._left_out |= {(ref.run, ref.index) for ref in refs}
            self._episodes = None

    @property
    def address(self) -> str:
        """The store's address, valid from any working directory."""
        return self.source.address

    @property
    def runs(self) -> list[RunSpec]:
        """The runs that streams were opened for, in the order of ``episodes``."""
        return sorted({stream.run for stream in list(self.streams.values()) if stream.run is not None})

    @property
    def bytes_on_disk(self) -> int:
        """Size of all committed files, by the log."""
        return sum(stream.bytes_on_disk for stream in list(self.streams.values()))

    def read(self, stream: str, start: int, stop: int, field: str, out: np.ndarray | None = None) -> np.ndarray:
        """Rows [start, stop) of one field of a stream, into ``out`` if given: ``(stop - start, ...)``.

        ``out`` must be C-contiguous and of the field's dtype. ``action`` and ``state`` have zero columns
        where the world has none. Frames: only the inner chunks that hold the rows are read (one ``pread`` per
        shard), checked and decoded, straight into ``out`` where they lie wholly within the rows.
        Raises ``StoreError`` for rows that are not committed, and for any file that is wrong.
        """
        committed = self.streams.get(stream)
        if committed is None:
            raise StoreError(f"{self.path} has no stream '{stream}'")
        if not 0 <= start <= stop <= committed.rows:
            raise StoreError(f"stream {stream} has {committed.rows} committed rows, not rows {start}..{stop}")
        if field not in self._fields:
            if field in ("action", "state"):
                return np.zeros((stop - start, 0), np.float32) if out is None else out
            raise StoreError(f"a store has no field '{field}': choose from {', '.join(self._fields)}")
        described = self._fields[field]
        shape = (stop - start, *described.shape)
        if out is None:
            out = np.empty(shape, described.dtype)
        elif out.shape != shape or out.dtype != described.dtype or not out.flags.c_contiguous:
            needed, given = f"{described.dtype} {shape}", f"{out.dtype} {out.shape}"
            raise ValueError(f"out must be C-contiguous {needed}, not {given}")
        row = start
        while row < stop:
            shard, first = divmod(row, self.spec.shard_rows)
            last = min(first + stop - row, self.spec.shard_rows)
            target = out[row - start : row - start + last - first]
            if described.sharded:
                self._shard(committed, field, shard).read(first, last, target)
            else:
                target[...] = self._chunk(committed, field, shard)[first:last]
            row += last - first
        return out

    def read_episode(self, ref: EpisodeRef, *fields: str) -> dict[str, np.ndarray]:
        """The named fields of one episode, each ``(ref.rows, ...)``; all fields when none is named."""
        names = fields or ("frame", "action", "reward", "flags", "episode", "state")
        return {name: self.read(ref.stream, ref.first, ref.first + ref.rows, name) for name in names}

    def _logs(self) -> dict[str, int | None]:
        """Stream names and, where they are known, sizes of their logs."""
        try:
            files = self.source.logs()
        except OSError as error:
            raise UnreachableError(f"{error.filename}: {error.strerror}: it is part of the store") from error
        stems = {name.removesuffix(".jsonl"): size for name, size in files.items() if name.endswith(".jsonl")}
        return {stem: size for stem, size in stems.items() if STREAM_NAME.fullmatch(stem)}

    def _merge(self) -> None:
        """Take in the streams' new episodes."""
        for name, stream in self.streams.items():
            for ref in stream.episodes[self._merged.get(name, 0) :]:
                if quarantine.touches(self.set_aside, ref, self.spec):
                    continue
                known = self._known.get((ref.run, ref.index))
                if known is None or (ref.stream, ref.first) < (known.stream, known.first):
                    self._known[ref.run, ref.index] = ref
                    self._episodes = None
            self._merged[name] = len(stream.episodes)

    def _chunk(self, stream: CommittedStream, field: str, i: int) -> np.ndarray:
        """A small field of shard ``i``, (shard_rows, ...)."""

        def load() -> Chunk:
            size, crc = stream.file(field, i)
            described = self._fields[field]
            rows = np.empty((self.spec.shard_rows, *described.shape), described.dtype)
            return Chunk(self._file(stream, field, i, size), crc, rows)

        return self._chunks.get((stream.name, field, i), load).rows

    def _shard(self, stream: CommittedStream, field: str, i: int) -> Shard:
        def load() -> Shard:
            size, crc = stream.file(field, i)
            inner = self.spec.inner_rows
            return Shard(self._file(stream, field, i, size), crc, self.spec.shard_rows // inner, inner)

        return self._shards.get((stream.name, field, i), load)

    def _file(self, stream: CommittedStream, field: str, i: int, size: int) -> CommittedFile:
        first = i * self.spec.shard_rows
        rows = range(first, min(first + self.spec.shard_rows, stream.rows))
        key = self._fields[field].chunk_key(i)
        return CommittedFile(self.source, size, stream.name, rows, layout.DATA, stream.name, field, key)
