"""Rebuilding a lost log from its shards.

Every file of a shard carries checksums of its own, so that what the log says of files can be computed from them. Where
episodes begin and end, and how, stands in the columns ``flags`` and ``episode``. The run stands in the stream's
``zarr.json`` (in older stores only in the log). What no file holds is each episode's seed and policy; both follow from
the run, and the caller knows how (``Identify``).

What is weaker than with the log: files of another stream that are whole and fit together are not noticed.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shared.errors import StoreError
from shared.links import refuse_links
from shared.store import layout, lost, quarantine
from shared.store.codec import crc32c, decode_chunk, tail_size
from shared.store.dataset import Description, load_spec
from shared.store.files import publish
from shared.store.gc import MINUTE, untouched, writer_runs
from shared.store.log import EPISODE_COLUMNS, STREAM_NAME, CommittedStream, seal
from shared.store.process import this_process
from shared.store.reader import Store
from shared.store.schema import FACTOR_OPTIONS, FIRST, LAST, SCHEMA_VERSION, TERMINATED, TRUNCATED, RunSpec
from shared.store.shards import CommittedFile, Shard
from shared.store.source import Local, Opening

Identify = Callable[[RunSpec, int], tuple[int, str]]
"""Run and number of an episode to its seed and its policy (never ``mixed``)."""

Prove = Callable[["Found"], RunSpec]
"""The run of a stream whose files name none, told by its first complete episode; raises where it cannot be told."""

QUIET = 10 * MINUTE
"""Seconds without a change after which a writer counts as gone where its process cannot be looked for."""


@dataclass(frozen=True)
class Found:
    """An episode as it stands in the shards."""

    index: int
    first: int
    terminated: bool
    truncated: bool
    columns: dict[str, np.ndarray]
    """Its rows by field, where they lie in one shard; else empty."""
    rows: int


@dataclass
class Rebuilt:
    """What ``rebuild_log`` brought back."""

    shards: int = 0
    rows: int = 0
    episodes: int = 0
    ends: str = ""
    """Why it ends before the stream's last file; empty where it does not."""


def rebuild_log(path: Path, stream: str, identify: Identify, prove: Prove) -> Rebuilt:
    """Write the log of a stream in the store at ``path`` from its shards; good lines that are there are kept.

    Every byte of the shards is checked. At the first one that is damaged, or missing though the Zarr documents show its
    rows, the log ends and stays open; its ``ends`` then says so. A damaged log of which no shard can be brought back is
    cut to its good lines. An earlier log is copied to ``quarantine/``. Raises ``StoreError`` where there is no such
    stream, a writer that may be at work, nothing to bring back, or no way to tell the run; nothing is changed then.
    """
    folder = _folder(path, stream)
    dataset, source = load_spec(Local(path)), Local(path)
    log, committed, before, damaged = layout.log_file(path, stream), None, b"", False
    if log.exists():
        committed = CommittedStream(source, stream, dataset)
        try:
            committed.poll()
        except StoreError:  # its good lines are kept
            damaged = True
        before = log.read_bytes()
        if committed.closed or committed.rows % dataset.spec.shard_rows:
            raise StoreError(f"{log} is whole: there is nothing to make anew")
        _refuse_writer(log, committed, folder)
    lines = _Lines(path, stream, dataset, committed)
    result = lines.read(identify, prove)
    if not result.shards and not (damaged and result.ends):
        raise StoreError(f"{folder} has no complete shard that its log lacks: {result.ends or 'nothing to make anew'}")
    text = before[: committed.good_bytes if committed else 0] + b"".join(lines.sealed)
    if log.exists():
        quarantine.replace_log(path, stream, text)
    elif not publish(log, text):
        raise StoreError(f"{log} is there again: look at it with factory verify")
    return result


def cut_log(path: Path, stream: str) -> int:
    """Cut the damaged log of a stream to its good lines, so that the store opens; returns the rows that they have.

    The shards of the other lines stay where they are, for ``rebuild_log``; the log as it was goes to ``quarantine/``.
    Raises ``StoreError`` where there is no such stream, its log is not damaged, or a writer may be at work.
    """
    folder, log = _folder(path, stream), layout.log_file(path, stream)
    committed = CommittedStream(Local(path), stream, load_spec(Local(path)))
    if log.exists():
        try:
            committed.poll()
        except StoreError as error:
            if isinstance(error.__cause__, OSError):  # it cannot be read: that does not tell where it is damaged
                raise
            _refuse_writer(log, committed, folder)
            quarantine.cut_log(path, stream, committed.good_bytes)
            return committed.rows
    raise StoreError(f"{log} is not damaged, so there is nothing to cut: factory verify {path} says what is wrong")


def _folder(path: Path, stream: str) -> Path:
    """The folder of a stream; ``StoreError`` where there is none."""
    refuse_links(path)
    folder = layout.stream_directory(path, stream)
    if not STREAM_NAME.fullmatch(stream) or not folder.is_dir() or folder.is_symlink():
        raise StoreError(f"{path} has no stream '{stream}': factory verify names those without a log")
    return folder


def _refuse_writer(log: Path, committed: CommittedStream, folder: Path) -> None:
    """Raise ``StoreError`` where the writer of a log may still add to it."""
    pid, runs = int(committed.header.get("pid", 0)), writer_runs(committed.header)
    if runs:
        raise StoreError(f"{log}: its writer, process {pid}, is still at work: end that first")
    now = time.time()
    past = [seconds for seconds in (now - committed.updated, untouched(folder, now)) if seconds >= 0]
    quiet = min(past, default=0.0)  # a sign from the future tells nothing; where all are, a clock there may be ahead
    if committed.header and runs is None and quiet < QUIET:
        host = str(committed.header.get("host"))[:60]
        raise StoreError(
            f"{log}: its writer, process {pid} on {host!r}, may still be at work (a change {quiet:.0f} s ago): "
            f"end that first, and try again {QUIET / MINUTE:.0f} minutes after its last change"
        )


class _Lines:
    """The lines that a log lacks."""

    def __init__(self, path: Path, stream: str, dataset: Description, committed: CommittedStream | None) -> None:
        self.sealed: list[bytes] = []
        self._path, self._stream, self._dataset, self._spec = path, stream, dataset, dataset.spec
        self._source = Local(path)
        self._run = committed.run if committed else None
        self._headed = committed is not None and bool(committed.header)
        self._columns = committed.header["episode_columns"] if committed and self._headed else EPISODE_COLUMNS
        self._crc = committed.checksum if committed else 0
        self._shards, self._rows = (committed.shards, committed.rows) if committed else (0, 0)
        last = committed.episodes[-1] if committed and committed.episodes else None
        done = last.first + last.rows if last else 0
        self._begun: tuple[int, int] | None = (done, self._begun_index(done)) if done < self._rows else None
        """First row and number of the episode that is under way."""

    def read(self, identify: Identify, prove: Prove) -> Rebuilt:
        result, open_end = Rebuilt(), False
        while not open_end:
            try:
                files, columns = self._shard()
                rows, episodes = self._episodes(columns)
            except FileNotFoundError:
                if lost.shown_rows(self._source, self._spec, self._stream) > self._rows:
                    result.ends = f"shard {self._shards} is missing"
                break
            except (StoreError, ValueError, OSError) as error:
                result.ends = f"shard {self._shards} is damaged ({' '.join(str(error).split())[:200]})"
                break
            if self._run is None:
                self._run = self._find_run(episodes, prove)
            if not self._headed:
                self._head()
            entries: list[list[Any]] = [
                [
                    one.index,
                    *identify(self._run, one.index),
                    one.first,
                    one.rows,
                    int(one.terminated),
                    int(one.truncated),
                    None if self._spec.world_options.keys() & FACTOR_OPTIONS else {},
                ][: len(self._columns)]
                for one in episodes
            ]
            self._add({"i": self._shards, "rows": rows, "files": files, "episodes": entries})
            open_end = rows < self._spec.shard_rows
            self._shards += 1
            self._rows += rows
            result.shards += 1
            result.rows += rows
            result.episodes += len(episodes)
        if result.shards and self._begun is None and not result.ends:
            self._add({"closed": 1, "rows": self._rows})
        return result

    def _add(self, body: dict[str, Any]) -> None:
        line, self._crc = seal(body | {"time": round(time.time(), 3)}, self._crc)
        self.sealed.append(line)

    def _head(self) -> None:
        assert self._run is not None
        self._headed = True
        self._add(
            {
                "stream": self._stream,
                "schema_version": SCHEMA_VERSION,
                "dataset": self._dataset.checksum,
                "worker": int(self._stream.rpartition("-")[0].rpartition("-w")[2]),
                **this_process(),
                "rebuilt": 1,
                "run": dataclasses.asdict(self._run),
                "episode_columns": self._columns,
            }
        )

    def _find_run(self, episodes: list[Found], prove: Prove) -> RunSpec:
        with Opening(layout.stream_directory(self._path, self._stream) / "zarr.json", self._path) as fd:
            run = layout.run_of_document(os.pread(fd, 1 << 20, 0))
        run = run or self._dataset.run
        if run is not None:
            return run
        whole = [one for one in episodes if one.columns]
        if not whole:
            raise StoreError(
                f"stream {self._stream}: its first shard holds no whole episode, which would tell its run: "
                f"restore its log from a copy, or remove it with factory gc --stream {self._stream}"
            )
        return prove(whole[0])

    def _shard(self) -> tuple[dict[str, list[int]], dict[str, np.ndarray]]:
        """What the log says of the next shard's files, and their rows. ``FileNotFoundError`` where one is missing."""
        files: dict[str, list[int]] = {}
        columns: dict[str, np.ndarray] = {}
        for name, field in layout.fields(self._spec).items():
            file = layout.stream_directory(self._path, self._stream) / name / field.chunk_key(self._shards)
            size = file.lstat().st_size
            if size > layout.most_bytes(field, self._spec) or size < 8:
                raise ValueError(f"{name} has {size} bytes")
            with Opening(file, self._path) as fd:
                data = np.frombuffer(os.pread(fd, size, 0), np.uint8)
            rows = np.empty((self._spec.shard_rows, *field.shape), field.dtype)
            if field.sharded:
                crc = self._frames(name, data, rows)
            else:
                crc = int.from_bytes(data[-4:].tobytes(), "little")
                decode_chunk(data, rows, crc)
            files[name], columns[name] = [size, crc], rows
        return files, columns

    def _frames(self, name: str, data: np.ndarray, rows: np.ndarray) -> int:
        """Decode the chunks that a frame shard has into ``rows``; returns the checksum of its table and index."""
        chunks = self._spec.shard_rows // self._spec.inner_rows
        tail = data[-tail_size(chunks) :].tobytes()
        crc = crc32c(tail[:-4])
        parts = (layout.DATA, self._stream, name, layout.fields(self._spec)[name].chunk_key(self._shards))
        shard = Shard(
            CommittedFile(self._source, len(data), self._stream, range(self._spec.shard_rows), *parts),
            crc, chunks, self._spec.inner_rows,
        )  # fmt: skip
        filled = shard.chunks * self._spec.inner_rows
        shard.read(0, filled, rows[:filled])
        rows[filled:] = 0
        self._filled = filled
        return crc

    def _episodes(self, columns: dict[str, np.ndarray]) -> tuple[int, list[Found]]:
        """How many rows of a shard count, and the episodes that end in it. ``ValueError`` for flags that make none."""
        flags, numbers, base = columns["flags"], columns["episode"], self._rows
        found, end = [], 0
        for row in np.flatnonzero(flags & (FIRST | LAST)).tolist():
            if flags[row] & FIRST:
                if self._begun is not None or row != end:
                    raise ValueError(f"an episode begins within another at row {base + row}")
                self._begun = base + row, int(numbers[row])
            if flags[row] & LAST:
                if self._begun is None:
                    raise ValueError(f"an episode ends that did not begin, at row {base + row}")
                first, index = self._begun
                start = max(first - base, 0)
                if (numbers[start : row + 1] != index).any():
                    raise ValueError(f"episode {index} has rows of another")
                whole = {name: values[start : row + 1] for name, values in columns.items()} if first >= base else {}
                ended = bool(flags[row] & TERMINATED), bool(flags[row] & TRUNCATED)
                found.append(Found(index, first, *ended, whole, base + row + 1 - first))
                self._begun, end = None, row + 1
        rows = end if self._begun is None else self._spec.shard_rows
        if not -(-rows // self._spec.inner_rows) * self._spec.inner_rows == self._filled:
            raise ValueError(f"its frames are not those of {rows} rows")
        return rows, found

    def _begun_index(self, row: int) -> int:
        """The episode number at a row of the committed shards."""
        found = Store(self._path, on_corrupt="skip").read(self._stream, row, row + 1, "episode")
        return int(found[0])
