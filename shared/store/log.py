"""The commit log of a stream: one JSON line per committed shard, each sealed by a crc32c.

A line's checksum covers the line and the checksum of the line before it, so a lost, altered, repeated or
moved line is noticed. A line counts once its newline is there; until then a reader waits for the rest.

* first line: ``{"stream", "schema_version", "dataset", "worker", "host", "boot", "pid_namespace", "pid", "time",
  "run", "episode_columns", "c"}``; earlier versions wrote no ``boot`` and no ``pid_namespace``
* a commit: ``{"i", "rows", "files": {field: [size, crc32c]}, "episodes": [[...], ...], "time", "c"}``. The
  crc32c is that of a chunk's compressed bytes, or of a frame shard's table and index (see ``codec``). An
  episode stands in the line of the shard that holds its last row.
* last line of a writer that ended properly: ``{"closed": 1, "rows", "time", "c"}``
"""

from __future__ import annotations

import json
import math
import os
import re
from array import array
from operator import attrgetter
from pathlib import Path
from typing import Any

from shared.errors import StoreError, UnreachableError
from shared.store.codec import crc32c
from shared.store.dataset import Description
from shared.store.files import naming, sync_directory, write_all
from shared.store.layout import LOG, fields, log_name, most_bytes
from shared.store.schema import (
    MOST_EPISODES,
    MOST_SEEDS,
    SCHEMA_VERSION,
    EpisodeRef,
    RunSpec,
    check_factors,
    check_name,
    split_of,
)
from shared.store.source import TAIL_BYTES, Source

STREAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}-w\d{2,6}-[0-9a-f]{8}")
"""Valid stream names; none is a path that leaves the store."""

EPISODE_COLUMNS = ["index", "seed", "policy", "first", "rows", "terminated", "truncated", "factors"]

_SEAL = re.compile(rb',"c":"([0-9a-f]{8})"\}')


def seal(body: dict[str, Any], previous: int) -> tuple[bytes, int]:
    """A log line with its newline, and its checksum, given that of the line before (0 for the first)."""
    text = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()[:-1]
    crc = crc32c(text, previous)
    return text + b',"c":"%08x"}\n' % crc, crc


def unseal(line: bytes, previous: int) -> tuple[dict[str, Any], int]:
    """Inverse of ``seal`` for a line without its newline; ``ValueError`` when the checksum differs."""
    match = _SEAL.fullmatch(line[-16:])
    text = line[:-16]
    crc = crc32c(text, previous)
    if match is None or int(match[1], 16) != crc:
        raise ValueError("its checksum does not match, or a line before it is lost")
    body = json.loads(text + b"}")
    if not isinstance(body, dict):
        raise ValueError("it is not a JSON object")
    return body, crc


class LogWriter:
    """Appends sealed lines to a new log; each is durable when ``append`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._crc = 0
        self._fd = -1
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        sync_directory(path.parent)

    def append(self, body: dict[str, Any]) -> None:
        line, crc = seal(body, self._crc)
        with naming(self._path):
            write_all(self._fd, line)
            os.fsync(self._fd)
        self._crc = crc

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with naming(self._path):
                os.close(fd)

    def __del__(self) -> None:
        self.close()


class CommittedStream:
    """A reader's view of one stream: committed shards and complete episodes, from its log alone."""

    def __init__(self, source: Source, name: str, dataset: Description) -> None:
        self.name = name
        self.header: dict[str, Any] = {}
        """The log's first line; empty until it is there."""
        self.run: RunSpec | None = None
        """The run of its episodes; None until the first line is there."""
        self.rows = 0
        self.shards = 0
        self.bytes_on_disk = 0
        self.closed = False
        self.updated = 0.0
        """Unix time of the newest line."""
        self.episodes: list[EpisodeRef] = []
        self._source = source
        self._path = source.name(LOG, log_name(name))
        self._dataset = dataset
        self._offset = 0
        self._lines = 0
        self._crc = 0
        self._files = {field: array("Q") for field in fields(dataset.spec)}
        self._most = {name: most_bytes(field, dataset.spec) for name, field in fields(dataset.spec).items()}

    def file(self, field: str, shard: int) -> tuple[int, int]:
        """Size in bytes and crc32c of a committed file."""
        return self._files[field][2 * shard], self._files[field][2 * shard + 1]

    @property
    def good_bytes(self) -> int:
        """Bytes of the log up to its last good line."""
        return self._offset

    @property
    def checksum(self) -> int:
        """Of the log up to its last good line: what seals the next one."""
        return self._crc

    def begins(self, other: CommittedStream, *, named: bool = False) -> bool:
        """Whether its shards, and the episodes in them, are the first ones of ``other``, however each log came about.

        A log made anew may have lost episodes' seeds, policies and factors, so that these are not compared; with
        ``named``, ``other`` must have those that this one has.
        """
        whole = self.shards * self._dataset.spec.shard_rows
        if self.run != other.run or self.shards > other.shards:
            return False
        if self.rows != (other.rows if self.shards == other.shards else whole):
            return False
        if any(files != other._files[name][: len(files)] for name, files in self._files.items()):
            return False
        facts = attrgetter("index", "first", "rows", "terminated", "truncated", *(("seed", "policy") if named else ()))
        there = [ref for ref in other.episodes if ref.first + ref.rows <= self.rows]
        if [facts(ref) for ref in self.episodes] != [facts(ref) for ref in there]:
            return False
        return not named or all(ref.factors in (None, its.factors) for ref, its in zip(self.episodes, there))

    def poll(self, size: int | None = None) -> None:
        """Take in the lines that were added; ``size`` is that of the log, where listing logs told it.

        Raises ``StoreError`` with file and line for a damaged one. Costs one open and two or three calls on it when
        nothing is new in a directory, nothing at all in an object store.
        """
        if self.closed:
            return
        while self._take_in(size):
            pass

    def _take_in(self, size: int | None) -> bool:
        """The lines of the next part of the log; whether there may be more."""
        try:
            data = self._source.tail(log_name(self.name), self._offset, size)
        except OSError as error:
            raise UnreachableError(f"{self._path}: cannot read the commit log: {error.strerror}: restore it") from error
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._lines += 1
            try:
                body, crc = unseal(line, self._crc)
                self._take(body)
            except (ValueError, KeyError, TypeError, OverflowError, AttributeError, RecursionError) as error:
                self._lines -= 1
                raise self._damaged(self._lines + 1, str(error)) from error
            self._crc = crc
            self._offset += len(line) + 1
        end = _SEAL.search(rest)
        if end is not None and end.end() < len(rest):
            raise self._damaged(self._lines + 1, "something else stands where its line should end")
        if len(rest) >= TAIL_BYTES:
            raise self._damaged(self._lines + 1, "a line without end")
        return len(data) >= TAIL_BYTES and not self.closed

    def _take(self, body: dict[str, Any]) -> None:
        updated = float(body["time"])
        if not math.isfinite(updated):
            raise ValueError("its time is no number")
        if not self.header:
            self._take_header(body)
        elif "closed" in body:
            if body["rows"] != self.rows:
                raise ValueError(f"closed with {body['rows']} rows, but {self.rows} are committed")
            self.closed = True
        else:
            self._take_commit(body)
        self.updated = updated

    def _take_header(self, body: dict[str, Any]) -> None:
        if body["schema_version"] > SCHEMA_VERSION:
            raise ValueError(f"schema {body['schema_version']} is newer than this program's {SCHEMA_VERSION}")
        if body["stream"] != self.name:
            raise ValueError(f"it is the log of stream {body['stream']}")
        if body["dataset"] != self._dataset.checksum:
            raise ValueError("it belongs to another dataset.json")
        self.run = RunSpec(**body["run"]) if "run" in body else self._dataset.run
        if self.run is None:
            raise ValueError("it names no run")
        check_name(self.run.policy)
        if not 0 <= int(body.get("pid", 0)) < 1 << 31:
            raise ValueError("its writer was no process")
        self.header = body

    def _take_commit(self, body: dict[str, Any]) -> None:
        rows, shard_rows = body["rows"], self._dataset.spec.shard_rows
        if type(rows) is not int or type(body["i"]) is not int:
            raise ValueError("its numbers are not whole")
        if body["i"] != self.shards or not 1 <= rows <= shard_rows or self.rows != self.shards * shard_rows:
            raise ValueError(f"shard {body['i']} of {rows} rows cannot follow {self.rows} committed rows")
        files = {field: array("Q", body["files"][field]) for field in self._files}
        if any(len(numbers) != 2 for numbers in files.values()):
            raise ValueError("a file needs a size and a crc32c")
        for name, (size, _) in files.items():
            if size > self._most[name]:
                raise ValueError(f"a file of {size} bytes is more than its rows can take")
        episodes = [self._episode(entry, self.rows + rows) for entry in body["episodes"]]
        for field, numbers in files.items():
            self._files[field].extend(numbers)
            self.bytes_on_disk += numbers[0]
        self.rows += rows
        self.shards += 1
        self.episodes += episodes

    def _episode(self, entry: list[Any], limit: int) -> EpisodeRef:
        assert self.run is not None
        values = dict(zip(self.header["episode_columns"], entry, strict=True))
        index, seed = int(values["index"]), int(values["seed"])
        ref = EpisodeRef(
            run=self.run,
            index=index,
            seed=seed,
            policy=str(values["policy"]),
            stream=self.name,
            first=int(values["first"]),
            rows=int(values["rows"]),
            terminated=bool(values["terminated"]),
            truncated=bool(values["truncated"]),
            split=split_of(self._dataset.spec.split, self.run.seed, index, seed),
            factors=check_factors(values.get("factors")),
        )
        check_name(ref.policy)
        if not 0 <= ref.index < MOST_EPISODES or not 0 <= ref.seed < MOST_SEEDS:
            raise ValueError(f"there is no episode {ref.index} of seed {ref.seed}")
        if ref.first < 0 or ref.rows < 1 or ref.first + ref.rows > limit:
            raise ValueError(f"episode {ref.index} lies outside the committed rows")
        return ref

    def _damaged(self, line: int, why: str) -> StoreError:
        return StoreError(f"{self._path}, line {line}: the log is damaged ({why}): restore it from a copy")
