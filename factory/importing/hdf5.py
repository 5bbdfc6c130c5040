"""HDF5 files of other programs: finding them, and telling their layouts apart."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from factory.importing.source import blaming

with contextlib.suppress(ImportError):
    import hdf5plugin  # noqa: F401  (its import registers the compressions that stable-worldmodel uses)

SUFFIXES = (".h5", ".hdf5", ".hdf")


def file_at(path: Path) -> Path | None:
    """The HDF5 file at a path, or the only one in the folder there."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix in SUFFIXES]
        return files[0] if len(files) == 1 else None
    return path if path.is_file() and path.suffix in SUFFIXES else None


def looks_like(path: Path, has: Callable[[h5py.File], bool]) -> bool:
    """Whether there is an HDF5 file for which ``has`` holds; ``TinyJEPAError`` for one that cannot be opened."""
    file = file_at(path)
    if file is None:
        return False
    with blaming(file), h5py.File(file, "r") as opened:
        return bool(has(opened))


def is_image(data: Any) -> bool:
    """Whether a dataset holds an image a row: (N, H, W, C) or (N, C, H, W), grey (N, H, W)."""
    if not isinstance(data, h5py.Dataset) or data.ndim not in (3, 4) or data.dtype.kind not in "uf":
        return False
    channels = (1,) if data.ndim == 3 else (data.shape[1], data.shape[3])
    return bool({1, 2, 3, 4} & set(channels)) and min(sorted(data.shape[1:])[-2:]) >= 4


def is_column(data: Any) -> bool:
    """Whether a dataset holds numbers, a vector or one a row."""
    return isinstance(data, h5py.Dataset) and data.ndim in (1, 2) and data.dtype.kind in "uifb" and data.size > 0


def width(data: Any) -> int:
    """Columns of a dataset: the numbers of a row."""
    return int(np.prod(data.shape[1:], dtype=int))
