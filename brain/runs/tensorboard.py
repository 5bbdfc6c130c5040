"""Training curves as TensorBoard event files, written without the tensorboard package.

An event file is a sequence of records (TensorFlow's ``record_writer``): length as uint64, its masked crc32c, the data,
their masked crc32c, all little-endian. The data are a protobuf ``Event``: wall time, step, and the scalars.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import google_crc32c

VERSION = b"brain.Event:2"
WALL_TIME, STEP, FILE_VERSION, SUMMARY = 1, 2, 3, 5
"""Fields of ``Event``."""
VALUE, TAG, SIMPLE_VALUE = 1, 1, 2
"""Field of ``Summary``, and those of its ``Value``."""


class EventLog:
    """One event file in ``folder``, begun with the first scalars; every line is on disk when ``write`` returns."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: BinaryIO | None = None

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars, each under its tag, at a step (0 or more)."""
        now = time.time()
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
            self._file = (self.folder / name).open("ab")
            self._file.write(_record(_double(WALL_TIME, now) + _bytes(FILE_VERSION, VERSION)))
        values = b"".join(
            _bytes(VALUE, _bytes(TAG, tag.encode()) + _key(SIMPLE_VALUE, 5) + struct.pack("<f", value))
            for tag, value in scalars.items()
        )
        self._file.write(_record(_double(WALL_TIME, now) + _key(STEP, 0) + _varint(step) + _bytes(SUMMARY, values)))
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def _double(field: int, value: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", value)


def _bytes(field: int, data: bytes) -> bytes:
    return _key(field, 2) + _varint(len(data)) + data
