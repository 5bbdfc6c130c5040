"""Writing a store: any number of processes at once, each into a stream of its own."""

from __future__ import annotations

import dataclasses
import re
import secrets
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from shared.errors import StoreError
from shared.store import layout
from shared.store.codec import ShardEncoder, encode_chunk
from shared.store.dataset import load_spec
from shared.store.files import remove, sync_directory, write_file
from shared.store.log import EPISODE_COLUMNS, LogWriter
from shared.store.process import this_process
from shared.store.schema import (
    FIRST,
    LAST,
    MOST_EPISODES,
    MOST_SEEDS,
    SCHEMA_VERSION,
    TERMINATED,
    TRUNCATED,
    Episode,
    RunSpec,
    StoreSpec,
    check_factors,
    check_name,
)
from shared.store.source import Local


class StreamWriter:
    """Writes episodes into a new stream ``<host>-w<NN>-<8 hex>``; one per simulator start, never reopened.

    Rows reach readers in whole shards, by one line of the commit log; ``close`` commits a short last one.
    What is not committed when the process dies is lost, and nothing else is. Not thread-safe.

    Memory: at most ``inner_rows`` raw frames, one shard of compressed frames, and one shard of the other
    fields (for 64x64x3 frames and 4096 rows: 0.8 MB, about 5 MB and never more than 51 MB, and 0.3 MB).

    After an error (a full disk, for example) or an interrupt the stream ends where its last commit ended:
    ``close`` then adds nothing, and further episodes are refused.
    """

    name: str
    rows_committed: int
    bytes_committed: int

    def __init__(self, path: Path, spec: StoreSpec, run: RunSpec, worker: int) -> None:
        """Open a stream for episodes of ``run`` in the store at ``path``; ``spec`` is what ``create_store`` returned.

        Raises ``StoreError`` when the store is not there or has another spec, ``OSError`` with its file name
        when it cannot be written.
        """
        path = Path(path)
        dataset = load_spec(Local(path))
        if dataset.spec != spec:
            raise StoreError(f"{path} was created with another spec: write with the one create_store returns")
        try:
            check_name(run.policy)
        except ValueError as error:
            raise StoreError(f"a run cannot be named so: {error}") from None
        self.name = f"{host_name()}-w{worker:02d}-{secrets.token_hex(4)}"
        self.rows_committed = 0
        self.bytes_committed = 0
        self._spec, self._run = spec, run
        self._fields = layout.fields(spec)
        self._directory = layout.stream_directory(path, self.name)
        self._shards = 0
        self._rows = 0
        """Rows of the current shard so far."""
        self._episodes: list[list[Any]] = []
        """Episodes that end in the current shard."""
        self._frames = np.zeros((spec.inner_rows, *spec.frame_shape), np.uint8)
        self._encoder = ShardEncoder(spec.shard_rows // spec.inner_rows)
        self._columns = {
            name: np.zeros((spec.shard_rows, *field.shape), field.dtype)
            for name, field in self._fields.items()
            if not field.sharded
        }
        self._usable = True
        self._create_arrays(path)
        self._log = LogWriter(layout.log_file(path, self.name))
        self._log.append(
            {
                "stream": self.name,
                "schema_version": SCHEMA_VERSION,
                "dataset": dataset.checksum,
                "worker": worker,
                **this_process(),
                "time": round(time.time(), 3),
                "run": dataclasses.asdict(run),
                "episode_columns": EPISODE_COLUMNS,
            }
        )

    def append(self, episode: Episode) -> None:
        """Add a complete episode; every shard that it fills is committed before this returns.

        Raises ``StoreError`` when the episode does not fit the store's spec (nothing is added then) or the
        stream has ended, and ``OSError`` with its file name when the disk refuses.
        """
        if not self._usable:
            raise StoreError(f"stream {self.name} has ended: open a new one")
        columns = self._checked(episode)
        self._usable = False  # until the rows of every field are in step again
        first = self.rows_committed + self._rows
        entry = [int(episode.index), int(episode.seed), str(episode.policy), first, episode.rows]
        factors = None if episode.factors is None else dict(episode.factors)
        start, stop = 0, episode.rows
        while start < stop:
            place = self._rows % self._spec.inner_rows
            count = min(self._spec.inner_rows - place, stop - start)
            self._frames[place : place + count] = episode.frame[start : start + count]
            for name, values in columns.items():
                self._columns[name][self._rows : self._rows + count] = values[start : start + count]
            self._rows += count
            start += count
            if start == stop:
                self._episodes.append([*entry, int(episode.terminated), int(episode.truncated), factors])
            if place + count == self._spec.inner_rows:
                self._encoder.add(self._frames)
            if self._rows == self._spec.shard_rows:
                self._commit()
        self._usable = True

    def close(self) -> None:
        """Commit what is left, then end the log; does nothing the second time, or after an error."""
        try:
            if self._usable:
                self._usable = False
                if self._rows:
                    self._commit()
                self._show_rows(sync=True)
                self._log.append({"closed": 1, "rows": self.rows_committed, "time": round(time.time(), 3)})
        finally:
            self._log.close()

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create_arrays(self, path: Path) -> None:
        """Make the stream's group and empty arrays appear at once, by one rename."""
        staging = path / f".{self.name}.partial"
        try:
            staging.mkdir()
            write_file(staging / "zarr.json", [layout.stream_document(self._spec, self.name, self._run)])
            for name, field in self._fields.items():
                (staging / name).mkdir()
                write_file(staging / name / "zarr.json", [layout.array_document(field, self._spec, 0)])
                sync_directory(staging / name)
            sync_directory(staging)
            staging.rename(self._directory)
            sync_directory(self._directory.parent)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise

    def _checked(self, episode: Episode) -> dict[str, np.ndarray]:
        """The columns of an episode by field (all but the frames), or ``StoreError``."""
        rows = episode.rows
        if not 0 <= episode.index < MOST_EPISODES or not 0 <= episode.seed < MOST_SEEDS:
            raise StoreError(f"there can be no episode {episode.index} of seed {episode.seed}")
        try:
            check_name(str(episode.policy))
            check_factors(episode.factors)
        except ValueError as error:
            raise StoreError(f"episode {episode.index}: {error}") from None
        flags = np.zeros(rows, np.uint8)
        if rows:
            flags[0] |= FIRST
            flags[-1] |= LAST | TERMINATED * episode.terminated | TRUNCATED * episode.truncated
        columns = {
            "action": episode.action,
            "reward": episode.reward,
            "flags": flags,
            "episode": np.full(rows, episode.index, np.int64),
            "state": episode.state,
        }
        expected = {
            "frame": ("uint8", (rows, *self._spec.frame_shape)),
            "action": ("float32", (rows, self._spec.action_dim)),
            "reward": ("float32", (rows,)),
            "state": ("float32", (rows, len(self._spec.state_names))),
        }
        for name, (dtype, shape) in expected.items():
            values = getattr(episode, name)
            if values.dtype != dtype or values.shape != shape or not rows:
                found, needed = f"{values.dtype} {values.shape}", f"{dtype} {shape}"
                raise StoreError(f"episode {episode.index}: {name} is {found}, the store needs {needed}")
        return {name: values for name, values in columns.items() if name in self._fields}

    def _commit(self) -> None:
        """The commit protocol: files, then the log line, then the shapes that plain Zarr readers see."""
        if self._rows % self._spec.inner_rows:
            self._frames[self._rows % self._spec.inner_rows :] = 0
            self._encoder.add(self._frames)
        for values in self._columns.values():
            values[self._rows :] = 0
        files: dict[str, list[int]] = {}
        written: list[Path] = []
        try:
            for name, field in self._fields.items():
                if field.sharded:
                    parts, crc = self._encoder.finish()
                else:
                    chunk, crc = encode_chunk(self._columns[name])
                    parts = [chunk]
                files[name] = [sum(map(len, parts)), crc]
                target = self._directory / name / field.chunk_key(self._shards)
                written.append(target)
                write_file(target, parts)
                sync_directory(target.parent)
        except BaseException:
            for target in written:
                remove(target)
            raise
        self._log.append(
            {
                "i": self._shards,
                "rows": self._rows,
                "files": files,
                "episodes": self._episodes,
                "time": round(time.time(), 3),
            }
        )
        self.rows_committed += self._rows
        self.bytes_committed += sum(numbers[0] for numbers in files.values())
        self._shards += 1
        self._rows = 0
        self._episodes = []
        self._encoder = ShardEncoder(self._spec.shard_rows // self._spec.inner_rows)
        self._show_rows(sync=False)

    def _show_rows(self, *, sync: bool) -> None:
        """Tell plain Zarr readers how many rows there are."""
        for name, field in self._fields.items():
            document = layout.array_document(field, self._spec, self.rows_committed)
            write_file(self._directory / name / "zarr.json", [document], sync=sync)
            if sync:
                sync_directory(self._directory / name)


def host_name() -> str:
    """This machine's name for streams and logs: letters, digits and dashes, at most 40."""
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname()).strip("-")[:40] or "host"
