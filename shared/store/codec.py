"""Chunks and shards as bytes: zstd level 1, crc32c, and Zarr's ``sharding_indexed`` layout.

A shard file of n inner chunks holds, in this order: the chunks; a table of their n crc32c (uint32); the
Zarr index of n (offset, size) pairs (uint64); the index's crc32c. Everything is little endian. The table
stands where Zarr allows unused bytes. The commit log keeps the crc32c of table and index: a reader that has
the log's line trusts every byte of every chunk, and no other shard of the same size.

(A crc32c of the whole file would not do: over bytes that end in their own crc32c it is a constant.)

The layout follows the Zarr v3 ``sharding_indexed``, ``zstd`` and ``crc32c`` codec specifications.
"""

from __future__ import annotations

import struct

import google_crc32c
import numpy as np
from numcodecs import Zstd

from shared.store.layout import ZSTD_LEVEL

_ZSTD = Zstd(level=ZSTD_LEVEL)
_CRC_BYTES = 4
EMPTY = 2**64 - 1
"""Offset and size that mark a missing inner chunk (Zarr specification)."""


def crc32c(data: bytes | np.ndarray, value: int = 0) -> int:
    """CRC-32C (Castagnoli) of ``data``, continued from ``value``."""
    return int(google_crc32c.extend(value, data))


def encode_chunk(rows: np.ndarray) -> tuple[bytes, int]:
    """C-contiguous rows to ``zstd | crc32c`` bytes, and that crc32c."""
    packed = _ZSTD.encode(rows)
    crc = crc32c(packed)
    return packed + struct.pack("<I", crc), crc


def decode_chunk(data: np.ndarray, out: np.ndarray, crc: int) -> None:
    """Check the bytes of one chunk (uint8) and decode them into C-contiguous ``out``.

    ``crc`` is the checksum that the log or the table says it has. Raises ``ValueError`` that says what is
    wrong; ``out`` is then undefined.
    """
    packed, trailer = data[:-_CRC_BYTES], data[-_CRC_BYTES:]
    found = crc32c(packed)
    if found != crc or trailer.tobytes() != struct.pack("<I", crc):
        raise ValueError("its crc32c does not match")
    try:
        _ZSTD.decode(packed, out=out)
    except RuntimeError as error:
        raise ValueError(f"zstd cannot decode it: {error}") from error


class ShardEncoder:
    """Builds one shard file in memory, inner chunk by inner chunk."""

    def __init__(self, chunks: int) -> None:
        self._parts: list[bytes] = []
        self._crcs = np.zeros(chunks, "<u4")
        self._index = np.full((chunks, 2), EMPTY, "<u8")
        self._size = 0

    def add(self, rows: np.ndarray) -> None:
        """Append the next inner chunk: C-contiguous, all ``inner_rows`` rows of it."""
        data, crc = encode_chunk(rows)
        n = len(self._parts)
        self._crcs[n] = crc
        self._index[n] = self._size, len(data)
        self._parts.append(data)
        self._size += len(data)

    def finish(self) -> tuple[list[bytes], int]:
        """The file's bytes in parts, and the crc32c of its table and index."""
        table, index = self._crcs.tobytes(), self._index.tobytes()
        tail = table + index + struct.pack("<I", crc32c(index))
        return [*self._parts, tail], crc32c(table + index)


def tail_size(chunks: int) -> int:
    """Bytes of a shard's tail: crc table, index, index checksum."""
    return chunks * (4 + 16) + _CRC_BYTES


def decode_tail(tail: bytes, chunks: int, crc: int) -> tuple[np.ndarray, np.ndarray]:
    """The crc table (n,) uint32 and the index (n, 2) uint64 of a shard; ``ValueError`` if ``crc`` differs."""
    index_crc = struct.pack("<I", crc32c(tail[4 * chunks : -_CRC_BYTES]))
    if len(tail) != tail_size(chunks) or crc32c(tail[:-_CRC_BYTES]) != crc or tail[-_CRC_BYTES:] != index_crc:
        raise ValueError("its index is not the committed one")
    crcs = np.frombuffer(tail, "<u4", chunks)
    index = np.frombuffer(tail, "<u8", 2 * chunks, 4 * chunks)
    return crcs, index.reshape(chunks, 2)
