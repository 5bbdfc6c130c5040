"""Data sets of other formats as stores. A new format is one file here and one line below.

A reader is a class as described in ``factory.importing.source.Reader``: it says whether a path is of its format, lists
the episodes, and reads rows of one as a store keeps them.
"""

from __future__ import annotations

from pathlib import Path

from factory.importing.source import Choice, Reader
from shared.errors import TinyJEPAError
from shared.registry import Registry

READERS = Registry("format")
READERS.register("lerobot", "factory.importing.lerobot:LeRobot", "LeRobot v3: Parquet tables, videos or images")
READERS.register("minari", "factory.importing.minari:Minari", "a Minari data set: a folder, or its name")
READERS.register(
    "stable-worldmodel", "factory.importing.stable_worldmodel:StableWorldModel", "HDF5 as stable-worldmodel writes it"
)
READERS.register("robomimic", "factory.importing.robomimic:Robomimic", "HDF5 as robomimic reads it")
READERS.register("hdf5", "factory.importing.exported_hdf5:ExportedHdf5", "HDF5 as factory export writes it")
READERS.register("npz", "factory.importing.npz:Npz", "one .npz per episode: a folder of them, or a single one")
READERS.register("videos", "factory.importing.videos:Videos", "a folder of videos, with or without tables of actions")


def open_source(path: Path, form: str | None = None, choice: Choice | None = None) -> Reader:
    """The reader of the data set at ``path``, of the named format or of the first that knows it.

    Raises ``TinyJEPAError`` for a path that is missing or of no known format, for a package that its format needs, and
    for what the reader finds wrong.
    """
    choice = choice or Choice()
    if form is not None:
        reader = _reader(form)
        if not reader.knows(path):
            raise TinyJEPAError(f"{path} is no data set of format {form}: leave out --format, or name another")
        return _opened(reader, form, path, choice)
    missing = ""
    for name in READERS:
        try:
            reader = READERS.get(name)
        except ModuleNotFoundError as error:
            missing = missing or f"; format {name} could not be tried without {error.name}: {_INSTALL}"
            continue
        if reader.knows(path):
            return _opened(reader, name, path, choice)
    if not path.exists():
        raise TinyJEPAError(f"there is nothing at {path}: name a folder or a file{missing}")
    raise TinyJEPAError(f"{path} has no recognised format ({', '.join(READERS)}){missing}")


_INSTALL = "pip install 'tinyjepa[export]'"


def _reader(form: str) -> type[Reader]:
    try:
        reader: type[Reader] = READERS.get(form)
    except ModuleNotFoundError as error:
        raise TinyJEPAError(f"format {form} needs {error.name}: {_INSTALL}") from None
    return reader


def _opened(reader: type[Reader], form: str, path: Path, choice: Choice) -> Reader:
    opened = reader(path, choice)
    if not opened.episodes:
        raise TinyJEPAError(f"{path} has no episodes (read as {form})")
    return opened
