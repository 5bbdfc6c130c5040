"""Committed files, opened for reading and checked against the commit log."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import numpy as np

from shared.errors import DamageError, StoreError
from shared.store.codec import EMPTY, decode_chunk, decode_tail, tail_size
from shared.store.source import Source

T = TypeVar("T")


class Cache(Generic[T]):
    """Least recently used values up to a total weight; thread-safe. A missing value may be loaded twice."""

    def __init__(self, capacity: int, weight: Callable[[T], int]) -> None:
        self._capacity = capacity
        self._weight = weight
        self._held = 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = load()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._held += self._weight(value)
            while self._held > self._capacity and len(self._values) > 1:
                self._held -= self._weight(self._values.popitem(last=False)[1])
        return value


class CommittedFile:
    """Open a file, which must have the size in the log."""

    def __init__(self, source: Source, size: int, stream: str, rows: range, *parts: str) -> None:
        self.path = source.name(*parts)
        self.size = size
        self.stream = stream
        self.rows = rows
        try:
            self._opened = source.open(size, *parts)
        except FileNotFoundError:
            raise self.wrong("the file is missing") from None
        except ValueError as error:
            raise self.wrong(str(error)) from error
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ELOOP):  # a folder, a pipe, a link: not what was committed
                raise self.wrong(str(error.strerror)) from error
            raise StoreError(f"{self.path} cannot be opened: {error.strerror}: check its rights and limits") from error

    def pread(self, offset: int, size: int) -> bytes:
        try:
            data = self._opened.pread(offset, size)
        except FileNotFoundError:
            raise self.wrong("the file is missing") from None
        except ValueError as error:
            raise self.wrong(str(error)) from error
        except OSError as error:
            raise self.wrong(f"cannot be read ({error.strerror})") from error
        if len(data) != size:
            raise self.wrong(f"the file ends {size - len(data)} bytes too early")
        return data

    def wrong(self, why: str, rows: range | None = None) -> DamageError:
        """The error to raise: names stream, rows, file and cause."""
        rows = rows or self.rows
        return DamageError(
            f"stream {self.stream}, rows {rows.start}..{rows.stop - 1}, file {self.path}: {why}: {DamageError.CURE}"
        )


class Chunk:
    """A whole small field of one shard, decoded."""

    def __init__(self, file: CommittedFile, crc: int, rows: np.ndarray) -> None:
        """Decode the file's only chunk into ``rows`` (shard_rows, ...), which becomes read-only."""
        self.rows = rows
        try:
            decode_chunk(np.frombuffer(file.pread(0, file.size), np.uint8), rows, crc)
        except ValueError as error:
            raise file.wrong(str(error)) from error
        rows.flags.writeable = False


class Shard:
    """A shard file whose table and index agree with the log: its inner chunks can be read one by one."""

    def __init__(self, file: CommittedFile, crc: int, chunks: int, inner_rows: int) -> None:
        self._file = file
        self._inner_rows = inner_rows
        length = tail_size(chunks)
        try:
            crcs, index = decode_tail(file.pread(max(file.size - length, 0), length), chunks, crc)
        except ValueError as error:
            raise file.wrong(str(error)) from error
        self._crcs: list[int] = crcs.tolist()
        self._index: list[tuple[int, int]] = [(offset, size) for offset, size in index.tolist()]
        end = file.size - length
        for offset, size in self._index:
            if (offset, size) != (EMPTY, EMPTY) and (size < 4 or offset + size > end):
                raise file.wrong("a chunk lies outside the file")

    @property
    def chunks(self) -> int:
        """The number of inner chunks present."""
        return sum(offset != EMPTY for offset, _ in self._index)

    def read(self, first: int, last: int, out: np.ndarray) -> None:
        """Rows [first, last) of the shard, at least one, into C-contiguous ``out`` (last - first, ...)."""
        inner = self._inner_rows
        chunks = range(first // inner, -(-last // inner))
        start = self._index[chunks.start][0]
        end_offset, end_size = self._index[chunks.stop - 1]
        if not start <= end_offset < EMPTY:
            raise self._file.wrong("its chunks are not in order")
        data = np.frombuffer(self._file.pread(start, end_offset + end_size - start), np.uint8)
        for n in chunks:
            offset, size = self._index[n]
            low, high = max(first, n * inner), min(last, (n + 1) * inner)
            target = out[low - first : high - first]
            whole = high - low == inner
            rows = target if whole else np.empty((inner, *out.shape[1:]), out.dtype)
            try:
                decode_chunk(data[offset - start : offset - start + size], rows, self._crcs[n])
            except ValueError as error:
                base = self._file.rows.start + n * inner
                raise self._file.wrong(str(error), range(base, base + inner)) from error
            if not whole:
                target[...] = rows[low - n * inner : high - n * inner]
